package web_test

// rotationStep is a version of a role in a case: the keys, how many must sign, and which do.
type rotationStep struct {
	keys      []int
	threshold int
	sigs      []int
	refused   bool
}

// rootRotations are those of test_root_rotation.
var rootRotations = map[string][]rotationStep{
	"1-of-1-key-rotation":                   {{keys: []int{1}, threshold: 1, sigs: []int{1}}, {keys: []int{2}, threshold: 1, sigs: []int{2, 1}}, {keys: []int{2}, threshold: 1, sigs: []int{2}}},
	"1-of-1-key-rotation-unused-signatures": {{keys: []int{1}, threshold: 1, sigs: []int{3, 1, 4}}, {keys: []int{2}, threshold: 1, sigs: []int{3, 2, 1, 4}}, {keys: []int{2}, threshold: 1, sigs: []int{3, 2, 4}}},
	"3-of-5-sign-with-different-keycombos": {
		{keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{0, 2, 4}}, {keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{0, 4, 1}},
		{keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{0, 1, 3}}, {keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{0, 1, 3}},
	},
	"3-of-5-one-key-rotated": {{keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{0, 2, 4}}, {keys: []int{0, 1, 3, 4, 5}, threshold: 3, sigs: []int{0, 4, 1}}},
	"3-of-5-one-key-rotated-with-intermediate-step": {
		{keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{0, 2, 4}}, {keys: []int{0, 1, 3, 4, 5}, threshold: 3, sigs: []int{0, 2, 4, 5}},
		{keys: []int{0, 1, 3, 4, 5}, threshold: 3, sigs: []int{0, 4, 5}},
	},
	"3-of-5-all-keys-rotated-with-intermediate-step": {
		{keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{0, 2, 4}}, {keys: []int{5, 6, 7, 8, 9}, threshold: 3, sigs: []int{0, 2, 4, 5, 6, 7}},
		{keys: []int{5, 6, 7, 8, 9}, threshold: 3, sigs: []int{5, 6, 7}},
	},
	"1-of-3-threshold-increase-to-2-of-3": {{keys: []int{1, 2, 3}, threshold: 1, sigs: []int{1}}, {keys: []int{1, 2, 3}, threshold: 2, sigs: []int{1, 2}}},
	"2-of-3-threshold-decrease-to-1-of-3": {
		{keys: []int{1, 2, 3}, threshold: 2, sigs: []int{1, 2}}, {keys: []int{1, 2, 3}, threshold: 1, sigs: []int{1, 2}}, {keys: []int{1, 2, 3}, threshold: 1, sigs: []int{1}},
	},
	"1-of-2-threshold-increase-to-2-of-2":              {{keys: []int{1}, threshold: 1, sigs: []int{1}}, {keys: []int{1, 2}, threshold: 2, sigs: []int{1, 2}}},
	"1-of-1-key-rotation-fail-not-signed-with-old-key": {{keys: []int{1}, threshold: 1, sigs: []int{1}}, {keys: []int{2}, threshold: 1, sigs: []int{2, 3, 4}, refused: true}},
	"1-of-1-key-rotation-fail-not-signed-with-new-key": {{keys: []int{1}, threshold: 1, sigs: []int{1}}, {keys: []int{2}, threshold: 1, sigs: []int{1, 3, 4}, refused: true}},
	"3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys": {
		{keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{0, 2, 4}}, {keys: []int{0, 1, 3, 4, 5}, threshold: 3, sigs: []int{0, 2, 4}, refused: true},
	},
	"3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys": {
		{keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{0, 2, 4}}, {keys: []int{0, 1, 3, 4, 5}, threshold: 3, sigs: []int{0, 4, 5}, refused: true},
	},
	"1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached": {{keys: []int{1, 2, 3}, threshold: 1, sigs: []int{1}}, {keys: []int{1, 2, 3}, threshold: 2, sigs: []int{2}, refused: true}},
	"2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-reached": {{keys: []int{1, 2, 3}, threshold: 2, sigs: []int{1, 2}}, {keys: []int{1, 2, 3}, threshold: 1, sigs: []int{1}, refused: true}},
}

// targetsRotations are those of test_non_root_rotations, for the role that people sign.
var targetsRotations = map[string]rotationStep{
	"1-of-1-key-rotation":                                            {keys: []int{2}, threshold: 1, sigs: []int{2}},
	"1-of-1-key-rotation-unused-signatures":                          {keys: []int{1}, threshold: 1, sigs: []int{3, 1, 4}},
	"1-of-1-key-rotation-fail-not-signed-with-new-key":               {keys: []int{2}, threshold: 1, sigs: []int{1, 3, 4}, refused: true},
	"3-of-5-one-key-signature-wrong-not-signed-with-3-expected-keys": {keys: []int{0, 1, 3, 4, 5}, threshold: 3, sigs: []int{0, 2, 4}, refused: true},
	"2-of-5-one-key-signature-missing-threshold-not-reached":         {keys: []int{0, 1, 3, 4, 5}, threshold: 3, sigs: []int{0, 4}, refused: true},
	"3-of-5-sign-first-combo":                                        {keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{0, 2, 4}},
	"3-of-5-sign-second-combo":                                       {keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{0, 4, 1}},
	"3-of-5-sign-third-combo":                                        {keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{0, 1, 3}},
	"3-of-5-sign-fourth-combo":                                       {keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{1, 2, 3}},
	"3-of-5-sign-fifth-combo":                                        {keys: []int{0, 1, 2, 3, 4}, threshold: 3, sigs: []int{2, 3, 4}},
}
