package verify

// Warnings returns the warnings of Config.Source, if that has a method Warnings, too.
// session.New logs them.
func (v *Verifier) Warnings() []string {
	if w, ok := v.source.(interface{ Warnings() []string }); ok {
		return w.Warnings()
	}
	return nil
}
