package memstore

// Sweep removes all records that have expired, as the timer does every ten seconds.
func (s *Store) Sweep() { s.sweep() }
