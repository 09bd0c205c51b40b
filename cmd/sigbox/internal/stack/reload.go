package stack

type reloader struct{}
