package middleware

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// maxAcceptLanguage bounds the Accept-Language fields that are parsed, in bytes.
// Browsers send less than 200. Longer fields are ignored.
const maxAcceptLanguage = 1024

// Texts returns a new copy of the built-in texts of the pages in a language, "en" or "de",
// by their keys. It returns nil for any other language. To translate the pages, start with
// the texts of "en", which have all keys; see [WithTexts].
func Texts(language string) map[string]string { return maps.Clone(builtInTexts[language]) }

// builtInTexts has the texts of this package, by language.
var builtInTexts = map[string]map[string]string{"en": english, "de": german}

// WithTexts adds a language to those of the pages, or changes texts of one. The
// language is a tag of BCP 47, such as "fr" or "pt-BR". The keys are those of
// [Texts]; an app's own templates may use further ones, see [Page.Text]. Texts are
// plain text. Words in braces, such as {role}, are replaced by a value.
//
// If "pt-BR" lacks a text, the pages have the text of "pt", or else of "en". The built-in
// languages are "en" and "de".
//
//	middleware.WithTexts("en", map[string]string{"login.title": "Log in to Acme"})
//
// The detail of a [Problem] is shown in the reader's language if its text in the
// default language is a key, too:
//
//	middleware.WithTexts("de", map[string]string{"The order is empty.": "Die Bestellung ist leer."})
func WithTexts(language string, texts map[string]string) Option {
	texts = maps.Clone(texts)
	return func(s *settings) {
		// Copied, because settings that share the map may be in use.
		added := maps.Clone(s.addedTexts)
		if added == nil {
			added = map[string]map[string]string{}
		}
		// A second WithTexts for the same language adds to the first.
		tag := canonicalTag(language)
		merged := maps.Clone(added[tag])
		if merged == nil {
			merged = map[string]string{}
		}
		maps.Copy(merged, texts)
		added[tag] = merged
		s.addedTexts = added
	}
}

// WithLanguage sets the function that chooses the language of a page, for example
// from a setting of the user. It must be safe for concurrent use. It returns the
// tag of the language, such as "de". If it returns the empty string, or if the
// pages have neither the language nor its base ("de" for "de-AT"), the request's
// Accept-Language field decides, and then the language is English.
//
// For an app in one language, always return that language. Default: Accept-Language
// decides.
func WithLanguage(choose func(*http.Request) string) Option {
	return func(s *settings) { s.chooseLanguage = choose }
}

// language is a language of the pages with all of its texts.
type language struct {
	tag   string
	texts map[string]string
}

// newLanguages returns the languages by their canonical tags. Each has a text for every
// key: its own, or else that of its base, or else the English one. So a request needs a
// single lookup for each text.
func newLanguages(added map[string]map[string]string) map[string]*language {
	languages := map[string]*language{}
	add := func(tag string) {
		texts := maps.Clone(english)
		maps.Copy(texts, added["en"])
		// From the most general tag to the tag itself.
		for i := range len(tag) + 1 {
			if i == len(tag) || tag[i] == '-' {
				maps.Copy(texts, builtInTexts[tag[:i]])
				maps.Copy(texts, added[tag[:i]])
			}
		}
		languages[tag] = &language{displayTag(tag), texts}
	}
	for tag := range builtInTexts {
		add(tag)
	}
	for tag := range added {
		add(tag)
	}
	return languages
}

// builtInLanguages is shared by all apps that add no texts. It never changes.
var builtInLanguages = newLanguages(nil)

// text returns the text of a key, and the key itself if there is no such text. args
// are alternating names and values, which replace the names in braces. A value that
// has braces in it is not expanded again, so a user's input cannot refer to others.
func (l *language) text(key string, args ...string) string {
	text, ok := l.texts[key]
	if !ok {
		text = key
	}
	if len(args) == 0 || !strings.Contains(text, "{") {
		return text
	}
	// One Replacer for all names, and not one after the other: a replaced value is not
	// searched again.
	pairs := make([]string, len(args))
	for i, arg := range args {
		if i%2 == 0 {
			arg = "{" + arg + "}"
		}
		pairs[i] = arg
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// has reports whether there is a text for a key.
func (l *language) has(key string) bool {
	_, ok := l.texts[key]
	return ok
}

// detail translates the detail of a Problem with a code. The details of this package are
// English texts of the catalog. If several keys have the same English text, the key of the
// Problem's code applies, because the translations may differ.
func (l *language) detail(code, detail string) string {
	if l.has(detail) {
		return l.texts[detail]
	}
	if key := "error." + code; english[key] == detail {
		return l.text(key)
	}
	if key, ok := englishKeys[detail]; ok {
		return l.text(key)
	}
	return detail
}

// englishKeys has the key of each English text of an error. If several keys have the
// same text, the last one in alphabetical order counts.
var englishKeys = func() map[string]string {
	keys := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(english)) {
		if strings.HasPrefix(key, "error.") {
			keys[english[key]] = key
		}
	}
	return keys
}()

// languageOf returns the language of the page for a request: the one that the app
// chooses, otherwise the one that the browser prefers, otherwise English.
func (s *settings) languageOf(r *http.Request) *language {
	if s.chooseLanguage != nil {
		if l := s.findLanguage(canonicalTag(s.chooseLanguage(r))); l != nil {
			return l
		}
	}
	if l := s.acceptedLanguage(r.Header["Accept-Language"]); l != nil {
		return l
	}
	return s.languages["en"]
}

// findLanguage returns the language of a canonical tag or of its base, or nil.
func (s *settings) findLanguage(tag string) *language {
	for tag != "" {
		if l := s.languages[tag]; l != nil {
			return l
		}
		tag = tag[:max(strings.LastIndexByte(tag, '-'), 0)]
	}
	return nil
}

// acceptedLanguage returns the language that the fields rank highest (RFC 9110,
// section 12.5.4, with the lookup of RFC 4647), or nil if there is none.
func (s *settings) acceptedLanguage(fields []string) *language {
	var best *language
	bestQ, size := 0, 0
	for _, field := range fields {
		if size += len(field); size > maxAcceptLanguage {
			return best // of the fields before this one
		}
		for member := range strings.SplitSeq(field, ",") {
			tag, q, ok := languageRange(member)
			// Of equal members the first counts. q=0 means "not acceptable", and
			// bestQ is never less.
			if !ok || q <= bestQ {
				continue
			}
			if tag == "*" { // any language
				tag = "en"
			}
			if l := s.findLanguage(tag); l != nil {
				best, bestQ = l, q
			}
		}
	}
	return best
}

// languageRange parses a member of Accept-Language, such as "de-AT;q=0.8". q is in
// thousandths.
func languageRange(member string) (tag string, q int, ok bool) {
	tag, param, weighted := strings.Cut(member, ";")
	tag, q = canonicalTag(tag), 1000
	if weighted {
		name, value, _ := strings.Cut(strings.Trim(param, " \t"), "=")
		if q, ok = quality(value); !ok || !strings.EqualFold(name, "q") {
			return "", 0, false
		}
	}
	return tag, q, tag != ""
}

// canonicalTag returns a language tag in lower case. Tags are compared without
// regard to case. Some systems write "de_AT".
func canonicalTag(tag string) string {
	if len(tag) > 64 { // RFC 5646, section 4.4.1, expects up to 35 bytes
		return ""
	}
	return strings.ReplaceAll(strings.ToLower(strings.Trim(tag, " \t")), "_", "-")
}

// displayTag returns a canonical tag in its usual spelling, such as "pt-BR" or
// "zh-Hant" (RFC 5646, section 2.1.1): regions have two letters, scripts four.
func displayTag(tag string) string {
	subtags := strings.Split(tag, "-")
	for i, subtag := range subtags[1:] {
		switch len(subtag) {
		case 2:
			subtags[i+1] = strings.ToUpper(subtag)
		case 4:
			subtags[i+1] = strings.ToUpper(subtag[:1]) + subtag[1:]
		}
	}
	return strings.Join(subtags, "-")
}
