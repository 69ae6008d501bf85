package authtest_test

import (
	"fmt"
	"net/http"

	"github.com/synmetrix/session/authtest"
)

// A service that fails twice, each time in another way, and then recovers.
func ExampleServer_Inject() {
	srv := start(authtest.Options{})
	defer srv.Close()
	_, token := srv.SignIn("ada@example.com")

	srv.Inject(authtest.Refresh, authtest.Fault{Status: 502, Body: "<h1>Bad gateway</h1>", Times: 1})
	srv.Inject(authtest.Refresh, authtest.Fault{Status: 429, Header: http.Header{"Retry-After": {"7"}}, Times: 1})
	for range 3 {
		fmt.Println(status(srv, token))
	}
	// Output:
	// 502 Bad Gateway
	// 429 Too Many Requests
	// 200 OK
}

// The token is rotated, and the answer that has the new one is lost: the
// client holds a token that is used up and cannot know it.
func ExampleFault_lostAnswer() {
	srv := start(authtest.Options{})
	defer srv.Close()
	_, token := srv.SignIn("ada@example.com")

	srv.Inject(authtest.Refresh, authtest.Fault{CarryOut: true, Deliver: authtest.Close, Times: 1})
	fmt.Println(status(srv, token))
	info, _ := srv.Token(token)
	fmt.Println("the token is", info.State)
	// Output:
	// no answer
	// the token is used
}

// The database behind the service is down. It does not say so.
func ExampleFault_backendDown() {
	srv := start(authtest.Options{})
	defer srv.Close()
	_, token := srv.SignIn("ada@example.com")

	srv.Inject(authtest.Refresh, authtest.Fault{BackendDown: true})
	fmt.Println(status(srv, token))
	srv.Clear()
	fmt.Println(status(srv, token))
	// Output:
	// 400 Bad Request
	// 200 OK
}

// A logout that overtakes the answer of a refresh.
func ExampleGate() {
	srv := start(authtest.Options{})
	defer srv.Close()
	_, token := srv.SignIn("ada@example.com")

	var gate authtest.Gate
	srv.Inject(authtest.Refresh, authtest.Fault{After: &gate})
	response := make(chan string)
	go func() { response <- status(srv, token) }()

	<-gate.Arrived(1) // the token is rotated, and nothing answered yet
	for _, token := range srv.LiveTokens("ada@example.com") {
		res, err := http.Post(srv.URL+"/auth/logout?refresh_token="+token, "", nil)
		if err != nil {
			panic(err)
		}
		res.Body.Close()
	}
	gate.Open()
	fmt.Println(<-response)
	fmt.Println("live tokens:", len(srv.LiveTokens("ada@example.com")))
	// Output:
	// 200 OK
	// live tokens: 0
}
