// Package migrations holds the database schema of each service as numbered SQL files and applies
// them, forward only.
//
// A schema (ca, tlog, tuf) is migrated by itself and remembers its own version, so that services
// can live in one database or in three. A file is safe to apply while the previous version of
// sigbox still runs. A database that a newer sigbox has migrated is refused.
package migrations
