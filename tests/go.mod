module github.com/synmetrix/session/tests

go 1.25.2

require github.com/synmetrix/session v0.0.0

replace github.com/synmetrix/session => ../
