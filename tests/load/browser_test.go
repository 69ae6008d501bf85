package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"sync"
	"testing"
	"time"
)

// browser is a client with its own cookies and its own connection.
type browser struct {
	client  *http.Client
	base    string
	body    bytes.Buffer
	expires int64 // of the first access token, in Unix seconds
}

// newBrowser returns a browser whose connection is closed with the test.
func newBrowser(t *testing.T, base string) *browser {
	t.Helper()
	b := openBrowser(base)
	t.Cleanup(b.client.CloseIdleConnections)
	return b
}

// openBrowser returns a browser whose connection the caller must close.
func openBrowser(base string) *browser {
	jar, _ := cookiejar.New(nil) // an error is impossible without options
	transport := &http.Transport{MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1}
	return &browser{base: base, client: &http.Client{
		Jar: jar, Transport: transport, Timeout: 2 * time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// signedIn returns n browsers in which the user is signed in.
func signedIn(t *testing.T, base string, n int) []*browser {
	t.Helper()
	all := make([]*browser, n)
	for i := range all {
		all[i] = newBrowser(t, base)
	}
	errs := inTurns(all, 16, (*browser).signIn)
	for _, err := range errs {
		t.Fatal(err)
	}
	return all
}

// inTurns calls f for all browsers, several at a time.
func inTurns(all []*browser, atOnce int, f func(*browser) error) (errs []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, b := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(b); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return errs
}

func (b *browser) signIn() error {
	body, err := json.Marshal(map[string]string{"email": user, "password": password})
	if err != nil {
		return err
	}
	if err := b.send("POST", "/login", body, http.StatusOK); err != nil {
		return err
	}
	b.expires, err = b.readExpires()
	return err
}

// send sends a request, and reads the body of the response. It fails the test unless the
// response has the status.
func (b *browser) send(method, path string, body []byte, want int) error {
	req, err := http.NewRequest(method, b.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = page.Clone()
	if body != nil {
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Origin", b.base)
	}
	res, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b.body.Reset()
	if _, err = b.body.ReadFrom(res.Body); err == nil && res.StatusCode != want {
		err = fmt.Errorf("%s %s: status %d, want %d: %.200s", method, path, res.StatusCode, want, b.body.Bytes())
	}
	return err
}

// get gets a page, which must have status 200.
func (b *browser) get(path string) error { return b.send("GET", path, nil, http.StatusOK) }

// tokenExpires returns when the access token of the session expires, in Unix seconds.
func (b *browser) tokenExpires() (int64, error) {
	if err := b.get("/api/me"); err != nil {
		return 0, err
	}
	return b.readExpires()
}

func (b *browser) readExpires() (int64, error) {
	var me struct {
		Expires int64 `json:"access_token_expires_at"`
	}
	err := json.Unmarshal(b.body.Bytes(), &me)
	return me.Expires, err
}
