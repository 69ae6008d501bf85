package middleware

// ScriptFields is for the tests of all header fields that this package reads.
var ScriptFields = scriptFields

// Device returns the description of a browser by its User-Agent field.
func Device(userAgent string) string { return Page{}.device(userAgent) }
