package verify

// Warnings returns what is unsafe about the settings of Config.Source, if that has a method
// Warnings, too. A session.Manager logs it at its start.
func (v *Verifier) Warnings() []string {
	if w, ok := v.source.(interface{ Warnings() []string }); ok {
		return w.Warnings()
	}
	return nil
}
