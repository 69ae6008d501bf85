package jwks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/synmetrix/session/auth/verify"
)

// The limits of a JWKS.
const (
	maxBody = 1 << 20
	maxKeys = 100
)

// set are the usable keys of a JWKS. It does not change.
type set struct {
	at   time.Time // of the fetch
	byID map[string][]verify.Key
	all  []verify.Key
}

// find returns the keys with a key ID, or all if it is empty.
func (s *set) find(kid string) []verify.Key {
	if kid == "" {
		return s.all
	}
	return s.byID[kid]
}

// fetch fetches the JWKS. Its errors contain neither the address, which may have a secret
// in its query, nor parts of the response.
func (k *Keys) fetch() (s *set, err error) {
	defer func() {
		if v := recover(); v != nil { // of the client's transport, which is the app's
			s, err = nil, fmt.Errorf("the client has panicked: %T", v)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), k.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.cfg.URL, nil)
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := k.client.Do(req)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the response has status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	switch {
	case len(body) > maxBody:
		return nil, fmt.Errorf("the response has more than %d bytes", maxBody)
	case err != nil:
		return nil, errors.New("the response is incomplete")
	}
	return parse(body)
}

// parse returns the usable keys of a JWKS. It fails if there are none, so that a service
// that is failing does not make all tokens invalid.
func parse(body []byte) (*set, error) {
	var content struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(body, &content) != nil {
		return nil, errors.New("the response is not a JWKS")
	}
	if len(content.Keys) > maxKeys {
		return nil, fmt.Errorf("the JWKS has more than %d keys", maxKeys)
	}
	s := &set{byID: map[string][]verify.Key{}}
	for _, raw := range content.Keys {
		id, key, ok := parseKey(raw)
		if !ok {
			continue
		}
		s.all = append(s.all, key)
		if id != "" {
			s.byID[id] = append(s.byID[id], key)
		}
	}
	if len(s.all) == 0 {
		return nil, errors.New("the JWKS has no usable key")
	}
	return s, nil
}

// parseKey returns a key of a JWKS and its ID. It reports false if the key is not a public
// key for signatures, or is weak.
func parseKey(raw json.RawMessage) (string, verify.Key, bool) {
	var about struct {
		Use        string          `json:"use"`
		Operations []string        `json:"key_ops"`
		D          json.RawMessage `json:"d"` // in private keys
		K          json.RawMessage `json:"k"` // in symmetric keys
	}
	if json.Unmarshal(raw, &about) != nil || about.D != nil || about.K != nil {
		return "", verify.Key{}, false
	}
	if about.Use != "" && about.Use != "sig" || about.Operations != nil && !slices.Contains(about.Operations, "verify") {
		return "", verify.Key{}, false
	}
	var jwk jose.JSONWebKey
	if jwk.UnmarshalJSON(raw) != nil || !jwk.IsPublic() {
		return "", verify.Key{}, false
	}
	key, err := verify.NewKey(jwk.Key, jwk.Algorithm)
	return jwk.KeyID, key, err == nil
}
