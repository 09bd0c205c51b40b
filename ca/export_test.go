package ca

import "slices"

// NewSerial is the generator of serial numbers, for its statistics.
var NewSerial = newSerial

// SmallOrder returns the points of Ed25519 that are refused.
func SmallOrder() []string { return slices.Clone(smallOrder[:]) }
