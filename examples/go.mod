module github.com/synmetrix/session/examples

go 1.25.2

require github.com/synmetrix/session v0.0.0

replace github.com/synmetrix/session => ../
