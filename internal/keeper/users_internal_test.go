package keeper

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/cache"
)

// decodeUserMark accepts exactly what encode writes.
func FuzzDecodeUserMark(f *testing.F) {
	key := ID{1}.Key()
	for _, m := range []userMark{
		{},
		{ends: 7, endedAt: time.UnixMilli(1), kept: key, roles: 9},
		{ends: 1 << 31, capped: true, members: []member{{key, time.UnixMilli(2), time.UnixMilli(3)}, {ID{2}.Key(), time.Time{}, time.Time{}}}},
	} {
		f.Add(m.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, ok := decodeUserMark(string(b)); ok && !bytes.Equal(m.encode(), b) {
			t.Errorf("%x is decoded as %+v, whose encoding is %x", b, m, m.encode())
		}
	})
}

// A mark of the end of all sessions is small enough for a coordinator that is full.
func TestUserMarkIsSmall(t *testing.T) {
	m := userMark{ends: 1<<32 - 1, endedAt: time.Now().Add(50 * 365 * 24 * time.Hour)}
	if n := len(m.encode()); n > 16 {
		t.Errorf("%d bytes, want at most 16", n)
	}
}

// The user ID of a sign-in is part of the claims of its token, which do not stay in memory
// with the mark of the user.
func TestMarksKeepNoClaims(t *testing.T) {
	const marks, text = 32, 1 << 20
	u := users{lifetime: time.Hour, now: time.Now, marks: cache.New[knownMark](1<<20, 1<<20, time.Now)}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range marks {
		claims := strings.Repeat("x", text) + fmt.Sprint("user ", i)
		u.noteWrite(claims[text:], &userMark{}, u.writeCount())
	}
	if after := heap(); after > before+marks*text/4 {
		t.Errorf("the marks of %d users take %d bytes", marks, after-before)
	}
	if _, ok := u.marks.Get("user 0"); !ok {
		t.Error("a mark is missing")
	}
}

// The app's clock may be slow, so no lock is held while it is read.
func TestMarksReadTheClockWithoutALock(t *testing.T) {
	u := users{lifetime: time.Hour, marks: cache.New[knownMark](1<<20, 1<<20, time.Now)}
	reads := 0
	u.now = func() time.Time {
		reads++
		if !u.mu.TryLock() {
			t.Fatal("the lock is held")
		}
		u.mu.Unlock()
		return time.Now()
	}
	u.noteWrite("a user", &userMark{}, u.writeCount())
	u.note("a user", knownMark{userMark: &userMark{}}, u.writeCount())
	if reads == 0 {
		t.Error("the clock was not read")
	}
}
