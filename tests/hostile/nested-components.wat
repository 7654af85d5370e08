;; Nine levels of components, each of which instantiates the next one eight times.
(component $c1
(component $c2
(component $c3
(component $c4
(component $c5
(component $c6
(component $c7
(component $c8
(component $c9 (core module $m) (core instance (instantiate $m)))
(instance (instantiate $c9)) (instance (instantiate $c9)) (instance (instantiate $c9)) (instance (instantiate $c9)) (instance (instantiate $c9)) (instance (instantiate $c9)) (instance (instantiate $c9)) (instance (instantiate $c9)))
(instance (instantiate $c8)) (instance (instantiate $c8)) (instance (instantiate $c8)) (instance (instantiate $c8)) (instance (instantiate $c8)) (instance (instantiate $c8)) (instance (instantiate $c8)) (instance (instantiate $c8)))
(instance (instantiate $c7)) (instance (instantiate $c7)) (instance (instantiate $c7)) (instance (instantiate $c7)) (instance (instantiate $c7)) (instance (instantiate $c7)) (instance (instantiate $c7)) (instance (instantiate $c7)))
(instance (instantiate $c6)) (instance (instantiate $c6)) (instance (instantiate $c6)) (instance (instantiate $c6)) (instance (instantiate $c6)) (instance (instantiate $c6)) (instance (instantiate $c6)) (instance (instantiate $c6)))
(instance (instantiate $c5)) (instance (instantiate $c5)) (instance (instantiate $c5)) (instance (instantiate $c5)) (instance (instantiate $c5)) (instance (instantiate $c5)) (instance (instantiate $c5)) (instance (instantiate $c5)))
(instance (instantiate $c4)) (instance (instantiate $c4)) (instance (instantiate $c4)) (instance (instantiate $c4)) (instance (instantiate $c4)) (instance (instantiate $c4)) (instance (instantiate $c4)) (instance (instantiate $c4)))
(instance (instantiate $c3)) (instance (instantiate $c3)) (instance (instantiate $c3)) (instance (instantiate $c3)) (instance (instantiate $c3)) (instance (instantiate $c3)) (instance (instantiate $c3)) (instance (instantiate $c3)))
(instance (instantiate $c2)) (instance (instantiate $c2)) (instance (instantiate $c2)) (instance (instantiate $c2)) (instance (instantiate $c2)) (instance (instantiate $c2)) (instance (instantiate $c2)) (instance (instantiate $c2)))
