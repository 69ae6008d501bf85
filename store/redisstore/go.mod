module github.com/synmetrix/session/store/redisstore

go 1.25.2

require (
	github.com/redis/rueidis v1.0.79
	github.com/synmetrix/session v0.0.0
)

require golang.org/x/sys v0.47.0 // indirect

replace github.com/synmetrix/session => ../../
