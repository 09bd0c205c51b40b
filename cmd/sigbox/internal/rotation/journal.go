package rotation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
)

// Step says how far a rotation is.
type Step string

// The steps, in their order. A rotation that is over is in [Journal.Past].
const (
	Begun     Step = "begun"
	Made      Step = "made"
	Published Step = "published"
	Switched  Step = "switched"
	Retired   Step = "retired"
)

var order = []Step{Begun, Made, Published, Switched, Retired}

// Rotation is one replacement of a key.
type Rotation struct {
	Component string `json:"component"` // what was asked for: "ca-root" and "ca-intermediate" are both of the kind "ca"
	From      int    `json:"from"`
	To        int    `json:"to"`
	Step      Step   `json:"step"`
	Undoing   bool   `json:"undoing,omitempty"` // on the way back

	// When the step was done; zero before. Whole seconds, UTC.
	Begun     time.Time `json:"begun"`
	Made      time.Time `json:"made,omitzero"`
	Published time.Time `json:"published,omitzero"`
	Switched  time.Time `json:"switched,omitzero"`
}

// Ended is a rotation that is over.
type Ended struct {
	Rotation
	Undone bool      `json:"undone,omitempty"`
	End    time.Time `json:"end"`
}

// Kind is where the keys of one kind stand.
type Kind struct {
	InUse    int       `json:"in_use"` // the number of the key that signs
	Last     int       `json:"last"`   // the highest number that was ever taken
	Rotation *Rotation `json:"rotation,omitempty"`
}

// Trusted are the numbers of the keys that clients are to trust as keys in use, that which signs first.
func (k Kind) Trusted() []int {
	r := k.Rotation
	switch {
	case r == nil || r.Step == Begun || r.Step == Made:
		return []int{k.InUse}
	case r.To == k.InUse:
		return []int{k.InUse, r.From}
	}
	return []int{k.InUse, r.To}
}

// Ready are the numbers of the keys that are there: a key that is being made is not among them.
func (k Kind) Ready() (list []int) {
	for n := 1; n <= k.Last; n++ {
		if r := k.Rotation; r == nil || r.To != n || r.Step != Begun {
			list = append(list, n)
		}
	}
	return list
}

// Journal says of every kind of keys where it stands.
type Journal struct {
	Format int              `json:"format"`
	Kinds  map[string]*Kind `json:"kinds"`
	Past   []Ended          `json:"past,omitempty"`
	// Trust counts the changes of the trust root that were no rotation, for the process that follows the journal.
	Trust int `json:"trust,omitempty"`
}

// journalFormat is the version of the file's layout. A file with a higher one is refused.
const journalFormat = 1

// Kind returns where a kind stands; one that was never rotated has number 1.
func (j *Journal) Kind(name string) Kind {
	if k := j.Kinds[name]; k != nil {
		return *k
	}
	return Kind{InUse: 1, Last: 1}
}

func (j *Journal) set(name string, k Kind) { j.Kinds[name] = &k }

// File keeps a journal. Who changes it holds a lock that keeps others away.
type File struct{ Path string }

// Read returns the journal as it is, and the bytes that it was read from; nil before the first rotation.
func (f File) Read() (*Journal, []byte, error) {
	j := &Journal{Format: journalFormat, Kinds: map[string]*Kind{}}
	raw, err := os.ReadFile(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("journal of rotations: %w", err)
	}
	if err := json.Unmarshal(raw, j); err != nil {
		return nil, nil, fmt.Errorf("%s is damaged: %w", f.Path, err)
	}
	if j.Format > journalFormat {
		return nil, nil, fmt.Errorf("%s was written by a newer sigbox (format %d, this one knows %d): run the newer one", f.Path, j.Format, journalFormat)
	}
	if j.Kinds == nil {
		j.Kinds = map[string]*Kind{}
	}
	for name, k := range j.Kinds {
		if k == nil || k.InUse < 1 || k.Last < k.InUse || k.Rotation != nil && !k.Rotation.sound(*k) {
			return nil, nil, fmt.Errorf("%s is damaged: the keys of %q cannot stand as it says", f.Path, name)
		}
	}
	return j, raw, nil
}

// Touch notes that the trust root was changed by something else than a rotation.
func (f File) Touch() error {
	j, _, err := f.Read()
	if err != nil {
		return err
	}
	j.Trust++
	return f.write(j)
}

// sound says whether a rotation can be where it says that it is.
func (r *Rotation) sound(k Kind) bool {
	inUse := map[Step]int{Begun: r.From, Made: r.From, Published: r.From, Switched: r.To}[r.Step]
	return inUse == k.InUse && r.From >= 1 && r.To > r.From && r.To <= k.Last
}

// write replaces the file as a whole.
func (f File) write(j *Journal) error {
	raw, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the journal of rotations: %w", err)
	}
	return instance.WriteFile(f.Path, append(raw, '\n'), 0o600)
}
