package authtest_test

import (
	"fmt"
	"net/http"

	"github.com/synmetrix/session/authtest"
)

// The service fails in two different ways and then recovers.
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

// The service rotates the token, and the response with the new token is lost. The
// client does not know that its token is used up.
func ExampleFault_lostResponse() {
	srv := start(authtest.Options{})
	defer srv.Close()
	_, token := srv.SignIn("ada@example.com")

	srv.Inject(authtest.Refresh, authtest.Fault{CarryOut: true, Deliver: authtest.Close, Times: 1})
	fmt.Println(status(srv, token))
	info, _ := srv.Token(token)
	fmt.Println("the token is", info.State)
	// Output:
	// no response
	// the token is used
}

// The database of the service is down. The service does not report this.
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

// A logout finishes before the response of a refresh arrives.
func ExampleGate() {
	srv := start(authtest.Options{})
	defer srv.Close()
	_, token := srv.SignIn("ada@example.com")

	var gate authtest.Gate
	srv.Inject(authtest.Refresh, authtest.Fault{After: &gate})
	response := make(chan string)
	go func() { response <- status(srv, token) }()

	<-gate.Arrived(1) // the token is rotated, and no response sent yet
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
