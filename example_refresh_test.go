package session_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// An access token has expired, and the browser sends twenty requests at once.
// One refresh serves all of them.
func Example_renewal() {
	auth := startAuth(authtest.Options{AccessLife: 15 * time.Minute})
	defer auth.Close()
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
		Now:  auth.Now, // a clock that the example can move
	})
	if err != nil {
		log.Fatal(err)
	}
	app := httptest.NewTLSServer(guarded(m))
	defer app.Close()

	ada := newGuest(app)
	ada.signIn("ada@example.com")
	auth.Advance(time.Hour)
	fmt.Println(inParallel(20, func(int) string { return ada.get("/") }))
	fmt.Println("refreshes:", auth.Refreshes())
	// Output:
	// map[200 Hello:20]
	// refreshes: 1
}

// Several processes serve one address. Sessions are sealed into cookies, and
// the processes share a store, so that they refresh each session once. The
// store holds nothing about a session before its first refresh.
func ExampleConfig_coordinator() {
	auth := startAuth(authtest.Options{AccessLife: 15 * time.Minute})
	defer auth.Close()

	keys := []session.SecretKey{session.GenerateKey()} // the same for all
	shared := memstore.New()                           // for real processes, a store in a database
	var replicas []http.Handler
	for range 3 {
		m, err := session.New(session.Config{
			Auth:        synmetrix.NewClient(auth.URL),
			Keys:        keys,
			Coordinator: shared,
			Now:         auth.Now,
		})
		if err != nil {
			log.Fatal(err)
		}
		replicas = append(replicas, guarded(m))
	}
	next := make(chan http.Handler, len(replicas))
	for _, replica := range replicas {
		next <- replica
	}
	app := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		replica := <-next
		next <- replica
		replica.ServeHTTP(w, r)
	}))
	defer app.Close()

	ada := newGuest(app)
	ada.signIn("ada@example.com")
	auth.Advance(time.Hour)
	fmt.Println(inParallel(20, func(int) string { return ada.get("/") }))
	fmt.Println("refreshes:", auth.Refreshes())
	// Output:
	// map[200 Hello:20]
	// refreshes: 1
}

// guarded is an app with one page, for users.
func guarded(m *session.Manager) http.Handler {
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.Handle("GET /{$}", middleware.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Hello")
	})))
	return middleware.Sessions(m)(mux)
}

// inParallel counts what n calls return.
func inParallel(n int, call func(i int) string) map[string]int {
	results := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			result := call(i)
			mu.Lock()
			defer mu.Unlock()
			results[result]++
		})
	}
	wg.Wait()
	return results
}
