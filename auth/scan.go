package auth

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// This file reads usual JSON: without escapes, signs, fractions and exponents, of little
// depth, and with few members that have different names. It returns false for all other
// texts, valid or not, which encoding/json then decodes.

// scanObject appends the members of a usual JSON object to dst, which is empty. They share
// text.
func scanObject(dst []claim, text string) (members []claim, ok bool) {
	s := scanner{text: text}
	if !s.skip('{') {
		return nil, false
	}
	for !s.skip('}') {
		c, ok := s.member(len(dst) == 0, usualDepth)
		if !ok || len(dst) == usualClaims || slices.ContainsFunc(dst, func(o claim) bool { return o.name == c.name }) {
			return nil, false
		}
		dst = append(dst, c)
	}
	return dst, s.ended()
}

// scanStrings returns the elements of a usual JSON array of strings. They share text.
func scanStrings(text string) (list []string, ok bool) {
	s := scanner{text: text}
	if !s.skip('[') {
		return nil, false
	}
	list = make([]string, 0, strings.Count(text, `"`)/2)
	for !s.skip(']') {
		if len(list) > 0 && !s.skip(',') {
			return nil, false
		}
		element, ok := s.quoted()
		if !ok {
			return nil, false
		}
		list = append(list, element)
	}
	return list, s.ended()
}

// scanString returns a usual JSON string.
func scanString(text string) (string, bool) {
	s := scanner{text: text}
	unquoted, ok := s.quoted()
	return unquoted, ok && s.at == len(text)
}

// scanner reads JSON. Its methods return false for anything unusual.
type scanner struct {
	text string
	at   int // the position of the next byte
}

// usualDepth is the greatest depth of values that the scanner reads. The values of most
// claims are less deep.
const usualDepth = 8

// next skips white space and returns the byte after it, 0 at the end.
func (s *scanner) next() byte {
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// ended skips white space and reports whether it is at the end of the text.
func (s *scanner) ended() bool { return s.next() == 0 && s.at == len(s.text) }

// skip skips white space and the byte c after it. It returns false for any other byte.
func (s *scanner) skip(c byte) bool {
	ok := s.next() == c
	if ok {
		s.at++
	}
	return ok
}

// quoted reads a string without escapes, and returns it without quotes.
func (s *scanner) quoted() (string, bool) {
	if !s.skip('"') {
		return "", false
	}
	start, ascii := s.at, true
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			text := s.text[start:s.at]
			s.at++
			return text, ascii || utf8.ValidString(text)
		case c < ' ', c == '\\':
			return "", false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return "", false
}

// member reads a member of an object, and the comma before it unless it is the first.
func (s *scanner) member(first bool, depth int) (c claim, ok bool) {
	if !first && !s.skip(',') {
		return claim{}, false
	}
	if c.name, ok = s.quoted(); !ok || !s.skip(':') {
		return claim{}, false
	}
	s.next()
	start := s.at
	ok = s.value(depth)
	c.raw = s.text[start:s.at]
	return c, ok
}

func (s *scanner) object(depth int) bool {
	s.skip('{')
	for first := true; !s.skip('}'); first = false {
		if _, ok := s.member(first, depth); !ok {
			return false
		}
	}
	return true
}

func (s *scanner) array(depth int) bool {
	s.skip('[')
	for first := true; !s.skip(']'); first = false {
		if !first && !s.skip(',') || !s.value(depth) {
			return false
		}
	}
	return true
}

// value reads a value. The caller checks what follows it.
func (s *scanner) value(depth int) (ok bool) {
	switch c := s.next(); c {
	case '"':
		_, ok = s.quoted()
		return ok
	case '{':
		return depth > 0 && s.object(depth-1)
	case '[':
		return depth > 0 && s.array(depth-1)
	case 't', 'f', 'n':
		for _, word := range []string{"true", "false", "null"} {
			if strings.HasPrefix(s.text[s.at:], word) {
				s.at += len(word)
				return true
			}
		}
		return false
	default:
		start := s.at
		for s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9' {
			s.at++
		}
		return s.at > start && (c != '0' || s.at == start+1) // no leading zero
	}
}
