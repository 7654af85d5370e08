// The plugin itself is in the package filter.
package main

import (
	_ "time/tzdata" // the time zones, which a plugin finds nowhere else

	_ "mo-plugin/merge-edits/bindings/exports/wit_exports"
	_ "mo-plugin/merge-edits/router"
)

func main() {}
