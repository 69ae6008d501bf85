package middleware

// ScriptFields is for the tests of all header fields that this package reads.
var ScriptFields = scriptFields
