// The plugin itself is in the package filter.
package main

import _ "mo-plugin/merge-edits/bindings/exports/wit_exports"

func main() {}
