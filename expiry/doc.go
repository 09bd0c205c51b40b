// Package expiry puts what will stop working into an order, and says when to warn of it.
//
// Whoever runs something that ends at a known time contributes an [Item]: what it is, when it ends,
// what stops then, and the steps that prevent it. [Order] lists the items by time, the first to break
// first. An item is warned of when it has less left than one of its thresholds: 90, 30, 14, 7 and 2
// days, where its life is a year at most also a quarter and a tenth of that, and never with more than a
// third of its life left: a week is nothing to a root and everything to a timestamp. What renews itself is warned of only when its renewal is
// overdue. A [Watch] says each threshold of each item once.
//
// The package knows no certificate and no repository, and prints no command of its own: a step that
// an item names is one that its contributor has.
package expiry
