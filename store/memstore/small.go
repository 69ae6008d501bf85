package memstore

import (
	"container/heap"
	"hash/maphash"
	"time"

	"github.com/synmetrix/session/store"
)

// maxSmallData is the maximum length of a small record's Data, in bytes.
const maxSmallData = 16

// smallID is the Key of a small record, decoded.
type smallID [32]byte

// smallIDOf decodes a key of 64 lower-case hexadecimal digits. It returns false for
// every other key.
func smallIDOf(key string) (id smallID, ok bool) {
	if len(key) != 2*len(id) {
		return id, false
	}
	for i := range id {
		high, low := hexValue[key[2*i]], hexValue[key[2*i+1]]
		if high|low > 0xf {
			return id, false
		}
		id[i] = high<<4 | low
	}
	return id, true
}

// hexValue maps each lower-case hexadecimal digit to its value, and every other byte to
// 0xff.
var hexValue = func() (values [256]byte) {
	for c := range values {
		values[c] = 0xff
	}
	for v, c := range []byte("0123456789abcdef") {
		values[c] = byte(v)
	}
	return values
}()

// isSmall reports whether rec is a small record. The caller has decoded its Key with
// smallIDOf.
func isSmall(rec store.Record) bool {
	return rec.Owner == "" && len(rec.Meta) == 0 && len(rec.Data) <= maxSmallData
}

// small is a small record. It takes a third of the memory of a node.
type small struct {
	id      smallID
	version uint64
	seconds int64               // of ExpiresAt, since 1970
	data    *[maxSmallData]byte // never modified, because Get returns it
	nanos   int32               // of ExpiresAt
	due     int32               // index in smalls.due
	next    int32               // the next link of its bucket
	size    uint8               // of data
}

func (r *small) set(rec store.Record) {
	r.version, r.seconds, r.nanos = rec.Version, rec.ExpiresAt.Unix(), int32(rec.ExpiresAt.Nanosecond())
	r.data, r.size = nil, uint8(len(rec.Data))
	if r.size > 0 {
		r.data = new([maxSmallData]byte)
		copy(r.data[:], rec.Data)
	}
}

func (r *small) record(key string) store.Record {
	rec := store.Record{Key: key, Version: r.version, ExpiresAt: r.expiresAt()}
	if r.size > 0 {
		rec.Data = r.data[:r.size:r.size]
	}
	return rec
}

func (r *small) expiresAt() time.Time { return time.Unix(r.seconds, int64(r.nanos)) }

func (r *small) expired(now time.Time) bool { return !now.Before(r.expiresAt()) }

// smallsPerChunk small records fill 1 KiB.
const smallsPerChunk = 14

// smalls holds the small records of a shard. The records are in an array of chunks and
// refer to each other by index, so that they need no pointers and no allocation each.
// When a record is removed, the last one moves to its place.
//
// The exported methods implement heap.Interface.
type smalls struct {
	chunks  []*[smallsPerChunk]small
	due     []int32 // a min-heap of all indexes, by the time that the records expire
	buckets []int32 // a hash table of links; its size is a power of two
}

// A link is the index of a record plus one. A zero link is the end of a bucket.

// none is the index that find returns if there is no record.
const none = -1

func (s *smalls) at(i int32) *small { return &s.chunks[i/smallsPerChunk][i%smallsPerChunk] }

func (s *smalls) bucket(id *smallID) *int32 {
	return &s.buckets[maphash.Bytes(seed, id[:])&uint64(len(s.buckets)-1)]
}

// find returns the index of the record with the given ID.
func (s *smalls) find(id *smallID) int32 {
	if len(s.due) == 0 {
		return none
	}
	i := *s.bucket(id) - 1
	for i != none && s.at(i).id != *id {
		i = s.at(i).next - 1
	}
	return i
}

// link returns a pointer to the link to the record at i.
func (s *smalls) link(i int32) *int32 {
	p := s.bucket(&s.at(i).id)
	for *p != i+1 {
		p = &s.at(*p - 1).next
	}
	return p
}

// insert adds rec. There must be no record with this ID.
func (s *smalls) insert(id *smallID, rec store.Record) {
	i := int32(len(s.due))
	if int(i) == len(s.chunks)*smallsPerChunk {
		s.chunks = append(s.chunks, new([smallsPerChunk]small))
	}
	if int(i) == len(s.buckets) {
		s.rehash(max(8, 2*len(s.buckets)))
	}
	r := s.at(i)
	r.id = *id
	r.set(rec)
	p := s.bucket(id)
	r.next, *p = *p, i+1
	heap.Push(s, i)
}

// rehash changes the size of the hash table.
func (s *smalls) rehash(size int) {
	s.buckets = make([]int32, size)
	for i := range int32(len(s.due)) {
		r := s.at(i)
		p := s.bucket(&r.id)
		r.next, *p = *p, i+1
	}
}

// update replaces the record at i.
func (s *smalls) update(i int32, rec store.Record) {
	r := s.at(i)
	r.set(rec)
	heap.Fix(s, int(r.due))
}

// remove removes the record at i.
func (s *smalls) remove(i int32) {
	*s.link(i) = s.at(i).next
	heap.Remove(s, int(s.at(i).due))
	last := int32(len(s.due))
	if last == 0 {
		*s = smalls{} // slices do not shrink by themselves
		return
	}
	if i != last {
		// Move the last record to i, and update what refers to it.
		*s.link(last) = i + 1
		*s.at(i) = *s.at(last)
		s.due[s.at(i).due] = i
	}
	*s.at(last) = small{}
	if last%smallsPerChunk == 0 {
		s.chunks[last/smallsPerChunk] = nil
		s.chunks = s.chunks[:last/smallsPerChunk]
	}
}

// expired reports whether any record has expired.
func (s *smalls) expired(now time.Time) bool { return len(s.due) > 0 && s.at(s.due[0]).expired(now) }

func (s *smalls) Len() int { return len(s.due) }

func (s *smalls) Less(i, j int) bool {
	a, b := s.at(s.due[i]), s.at(s.due[j])
	return a.seconds < b.seconds || a.seconds == b.seconds && a.nanos < b.nanos
}

func (s *smalls) Swap(i, j int) {
	s.due[i], s.due[j] = s.due[j], s.due[i]
	s.at(s.due[i]).due, s.at(s.due[j]).due = int32(i), int32(j)
}

func (s *smalls) Push(i any) {
	s.at(i.(int32)).due = int32(len(s.due))
	s.due = append(s.due, i.(int32))
}

func (s *smalls) Pop() any {
	s.due = s.due[:len(s.due)-1]
	return nil
}

// putSmall is like put, if the stored record or the new one is small. n is the node of
// the key, or nil. The shard is locked.
func (s *Store) putSmall(sh *shard, n *node, id *smallID, hash uint64, rec store.Record, prev uint64, now time.Time) error {
	i := sh.smalls.find(id)
	if i != none && sh.smalls.at(i).expired(now) {
		s.removeSmall(sh, i)
		i = none
	}
	var stored uint64 // no record has the version zero
	switch {
	case n != nil:
		stored = n.rec.Version
	case i != none:
		stored = sh.smalls.at(i).version
	}
	if stored != prev {
		return store.ErrConflict
	}
	if !isSmall(rec) {
		if err := s.insert(sh, hash, rec); err != nil {
			return err
		}
		if i != none {
			s.removeSmall(sh, i)
		}
		return nil
	}
	if i != none {
		sh.smalls.update(i, rec)
		return nil
	}
	if n != nil {
		s.remove(n)
	}
	s.small.Add(1)
	sh.smalls.insert(id, rec)
	s.wake()
	return nil
}

// removeSmall removes the small record at i. The shard is locked.
func (s *Store) removeSmall(sh *shard, i int32) {
	sh.smalls.remove(i)
	s.small.Add(-1)
}
