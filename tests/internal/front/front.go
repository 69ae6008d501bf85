// Package front starts nginx and Caddy with configuration files of the project, and with
// a temporary certificate for https://app.example.org.
package front

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Host and Origin are those in the configuration files.
const (
	Host   = "app.example.org"
	Origin = "https://" + Host
)

// Patience is how long a test waits for an event that should happen at once.
const Patience = 2 * time.Minute

// Front is a proxy that serves Origin.
type Front struct {
	T    *testing.T
	Addr string // host:port
	Pool *x509.CertPool
}

// Transport returns a transport that connects to the proxy. If from is not empty, it
// connects from this address.
func (f *Front) Transport(from string) *http.Transport {
	return &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.Pool},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			if from != "" {
				d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
			}
			return d.DialContext(ctx, network, f.Addr)
		},
	}
}

// Browser returns a client that keeps cookies and follows no redirects.
func (f *Front) Browser() *http.Client {
	jar, _ := cookiejar.New(nil)
	transport := f.Transport("")
	f.T.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Jar: jar, Transport: transport, Timeout: Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Do sends a request and returns the response with its body. fields are alternating names
// and values of header fields.
func (f *Front) Do(client *http.Client, method, path, body string, fields ...string) (*http.Response, string) {
	f.T.Helper()
	req, err := http.NewRequestWithContext(f.T.Context(), method, Origin+path, strings.NewReader(body))
	if err != nil {
		f.T.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		f.T.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		f.T.Fatal(err)
	}
	return res, string(text)
}

// Edited returns the text of a file with changes. pairs has alternating texts of the file
// and their replacements.
func Edited(t *testing.T, file string, pairs ...string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(string(text), pairs[i]) {
			t.Fatalf("%s does not have %q", file, pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(string(text))
}

// Write writes a file in a directory of the test, and returns its path.
func Write(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// certificate makes a temporary certificate for Host.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{Host}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return Write(t, "tls.crt", string(cert)), Write(t, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))), pool
}
