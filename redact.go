package session

import "fmt"

// redacted stands for a secret where its holder is printed. fmt prints the
// fields of structs, unexported ones too, so that every type that has a secret
// anywhere in it says itself what is printed.
const redacted = "[redacted]"

// Format keeps the keys and tokens out of every fmt verb.
func (m *Manager) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("session.Manager" + redacted)) }

// Format keeps the cookies and tokens out of every fmt verb.
func (x *Exchange) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("session.Exchange" + redacted)) }
