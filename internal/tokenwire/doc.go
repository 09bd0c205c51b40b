// Package tokenwire is what sigbox and its child process sigbox-pkcs11 say to each other over a pipe: requests
// one way, answers the other, each one JSON object in a frame with its length before it.
//
// Frames are bounded ([MaxFrame]); whoever reads one that is longer, or that is not what it has to be, ends the
// conversation. Answers may come in any order: [Request.ID] says which request one is for. docs/design/0021 says
// why there is a child at all.
package tokenwire
