package auth

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// usual has texts that the scanner reads. The fuzz target starts with them, too.
var usual = []string{
	`{"exp":2,"iat":1,"hasura":{"x-hasura-user-id":"u","x-hasura-allowed-roles":["a","b"],"x-hasura-default-role":"a"}}`,
	`{"sub":"u","email_verified":true,"amr":["pwd","otp"],"nbf":0,"x":null,"y":false,"z":{"a":{"b":[[],{}]}}}`,
	" {\n\t\"a\" : [ \"b\" , \"c\" ] ,\r\"d\" : 10 } ", `{}`, `{"":""}`, `{"ä":"ö","日":["本"]}`,
	`[]`, `["a"]`, ` [ "a" , "ö" ] `, `""`, `"a"`,
	`{"a":{"b":1,"b":2}}`, // the names in values do not matter
}

var unusual = []string{
	`{"a":1.5}`, `{"a":-1}`, `{"a":1e3}`, `{"a":01}`, `{"a":1,"a":2}`, `{"a":1,}`, `{,"a":1}`, `{"a":1,,"b":2}`, `{"a" 1}`, `{"a":}`, `{"a":1 2}`,
	`{"a":1}}`, `{"a":1}x`, "{\"a\":1}\x00", `{"a\u0062":1}`, `{"a":"\n"}`, `{"a":"\x"}`, "{\"a\":\"\xff\"}", "{\"\xff\":1}", "{\"a\":\"\n\"}",
	`{"a":tru}`, `{"a":nul}`, `{"a":truefalse}`, `{"a":NaN}`, `{"a":'b'}`, `{'a':1}`, `{a:1}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`,
	`["a",]`, `[,"a"]`, `["a" "b"]`, `["a"`, `["a"]]`, `["a",1]`, `[null]`, `["\u00e4"]`, `"a`, `"a"b`, `"\""`, `"`, ``, ` `, `null`,
	strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), strings.Repeat("[", 1000),
	`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1}`,
}

// The scanner reads the same values as golang-jwt and encoding/json.
func FuzzScan(f *testing.F) {
	const header = `{"alg":"HS256","typ":"JWT"}`
	for _, text := range slices.Concat(usual, unusual) {
		f.Add(header, text, "c2ln")
	}
	f.Add(`{"alg":"none"}`, usual[0], "")
	f.Add(`{"alg":"x"}`, usual[0], "c2ln")
	f.Add(header, usual[0], "c2l")
	f.Add(header, usual[0], "c")
	f.Add(header, usual[0], "c2ln.c2ln")
	f.Add(header, usual[0], "c2\nln")
	f.Fuzz(func(t *testing.T, header, text, signature string) {
		b64 := base64.RawURLEncoding.EncodeToString
		for _, token := range []string{
			b64([]byte(header)) + "." + b64([]byte(text)) + "." + signature,
			b64([]byte(header)) + "." + b64([]byte(text)) + signature,
			header + "." + text + "." + signature,
		} {
			want, err := readToken(token) // adds the header
			got, _, ok := scanToken(nil, token)
			if ok && (err != nil || !maps.Equal(asMap(t, got), asMap(t, want))) {
				t.Errorf("%q: %q, want %q (%v)", token, got, want, err)
			}
		}
		compareValue(t, text)
		members, _ := scanObject(nil, text)
		for _, m := range members {
			compareValue(t, m.raw)
		}
	})
}

// compareValue compares what the functions for one value return with encoding/json.
func compareValue(t *testing.T, text string) {
	t.Helper()
	if members, ok := scanObject(nil, text); ok {
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &want); err != nil || !maps.Equal(asMap(t, members), asMap(t, claimsOf(want))) {
			t.Errorf("%q: members %q, want %q (%v)", text, members, want, err)
		}
	}
	if list, ok := scanStrings(text); ok {
		var want []string
		if err := json.Unmarshal([]byte(text), &want); err != nil || !slices.Equal(list, want) {
			t.Errorf("%q: elements %q, want %q (%v)", text, list, want, err)
		}
	}
	if got, ok := scanString(text); ok {
		var want string
		if err := json.Unmarshal([]byte(text), &want); err != nil || got != want {
			t.Errorf("%q: string %q, want %q (%v)", text, got, want, err)
		}
	}
	if json.Valid([]byte(text)) {
		var seconds float64
		got, err := date([]claim{{"exp", text}}, "exp")
		wrong := json.Unmarshal([]byte(text), &seconds) != nil || text == "null" || seconds <= 0 || seconds > maxDate
		if (err != nil) != wrong || err == nil && got.Sub(time.Unix(int64(seconds), 0)) >= time.Second {
			t.Errorf("%q: date %v (%v), want %v (wrong: %v)", text, got, err, seconds, wrong)
		}
	}
}

func asMap(t *testing.T, claims []claim) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, c := range claims {
		if _, ok := m[c.name]; ok {
			t.Errorf("%q occurs twice", c.name)
		}
		m[c.name] = c.raw
	}
	return m
}

// The scanner reads all usual texts and leaves the others to encoding/json.
func TestScan(t *testing.T) {
	read := func(text string) bool {
		_, object := scanObject(nil, text)
		_, list := scanStrings(text)
		_, single := scanString(text)
		return object || list || single
	}
	for _, text := range usual {
		if !read(text) {
			t.Errorf("%q was not read", text)
		}
	}
	for _, text := range unusual {
		if read(text) {
			t.Errorf("%q was read", text)
		}
	}
}

// Tokens with very many different headers fill the list of headers only up to its limits.
func TestKnownHeaders(t *testing.T) {
	var h headerList
	for i := range 3 * maxHeaders {
		h.add(strings.Repeat("h", i))
	}
	h.add(strings.Repeat("h", 3*maxHeaders-1))
	h.add(strings.Repeat("x", maxHeaderSize+1))
	for i := range 3 * maxHeaders {
		if want := i >= 2*maxHeaders; h.has(strings.Repeat("h", i)) != want {
			t.Errorf("header %d is known: %v, want %v", i, !want, want)
		}
	}
	if h.has(strings.Repeat("x", maxHeaderSize+1)) || len(*h.list.Load()) != maxHeaders {
		t.Errorf("%d headers", len(*h.list.Load()))
	}
}
