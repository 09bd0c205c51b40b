// Package hsmtest has real tokens for tests: SoftHSM 2 as it is installed, in a directory of the test's own, and the
// program sigbox-pkcs11 as it is in this tree.
//
// What SoftHSM never does by itself (hang, crash, sign wrongly, print, lose its sessions, count tries of a PIN) a module
// of the test does in between: [HSM.Faulty] is SoftHSM with a fault that the test switches on and off.
//
// A test never skips for want of SoftHSM. It fails and names the package to install. Tests that use this package have
// the build tag softhsm, which the tier with PostgreSQL sets.
package hsmtest
