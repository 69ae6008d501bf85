package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// object decodes a part of a token that must be a JSON object. Its error continues a
// sentence.
func object(part string) (map[string]json.RawMessage, error) {
	b, err := decode(part)
	if err != nil {
		return nil, errors.New("not base64url")
	}
	var members map[string]json.RawMessage
	if !utf8.Valid(b) || json.Unmarshal(b, &members) != nil || members == nil {
		return nil, errors.New("not a JSON object")
	}
	if !uniqueNames(b) {
		return nil, errors.New("an object in which a name occurs twice, or nested too deep")
	}
	return members, nil
}

// uniqueNames reports whether no object in b, which is valid JSON, has two members with one
// name. It also reports false if b is nested deeper than maxDepth. Programs differ in which
// of two members they read, so one program could check the first and another could use the
// second.
func uniqueNames(b []byte) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var open []map[string]bool // the names of the open objects; nil for an array
	isName := false            // the next string is a name
	for {
		t, err := d.Token()
		if err != nil {
			return true // the end
		}
		if len(open) > maxDepth {
			return false
		}
		name, isString := t.(string)
		switch {
		case t == json.Delim('{'):
			open, isName = append(open, map[string]bool{}), true
			continue
		case t == json.Delim('['):
			open, isName = append(open, nil), false
			continue
		case t == json.Delim('}') || t == json.Delim(']'):
			open = open[:len(open)-1]
		case isString && isName:
			names := open[len(open)-1]
			if names[name] {
				return false
			}
			names[name], isName = true, false
			continue
		}
		isName = len(open) > 0 && open[len(open)-1] != nil // a value has ended
	}
}
