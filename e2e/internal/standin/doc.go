// Package standin makes the images that the repository's container and compose files name, for a machine on
// which none can be pulled.
//
// Each is made of the machine's own Debian packages and Go toolchain, behaves as the original does in all that
// our files rely on (paths, users, entry point, variables), and bears the original's tag. So the files are run
// as they are shipped, byte for byte. What differs from the original is said at each image.
package standin
