// Package web serves the TUF repository and the plain trust files over HTTP.
//
// Every answer is looked up in one immutable [tuf.Published] by its exact path: there is no file
// system behind it, nothing is joined or cleaned, and whatever is not published is a plain 404,
// which is how clients learn that there is no newer root. Answers carry Content-Length and a
// strong ETag; HEAD, ranges and conditional requests work; bytes are never transformed and
// nothing is redirected.
//
// Below the prefix ("/tuf") lies the repository as the TUF specification has it, with root.json
// for those who fetch their first root by hand. Below /trust/ lie the current targets under
// their plain names, for clients that take files instead of TUF; the trust root of another instance,
// which is a target NAME.trusted_root.json, is at /trust/NAME/trusted_root.json too. The package signs
// nothing.
package web
