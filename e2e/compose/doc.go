// Package compose runs the repository's compose and container files as they are shipped, on a Docker engine of
// its own, and signs and verifies from outside of the containers with released clients.
//
// Nothing is pulled: package standin makes what the files name. The engine, all ports and all containers are in
// namespaces that end with the test. What is tested is in the tests; what stands in for what is printed.
package compose
