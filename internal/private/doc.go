// Package private says whether a file is fit to hold a secret.
//
// A private file is readable by its owner alone: mode 0600 or 0400. One that belongs to another user
// than this process's may be readable by its group too (0440, 0640): the group is then the only way
// in, and is how Kubernetes (fsGroup) and Compose hand secrets to a process that is not root. Who put
// the file there has chosen the group; where the owner is this process, the group gains nothing by
// it, and the mode is a mistake.
//
// What everybody can read, or others than the owner can write, is refused in any case.
package private
