(module (import "odd" "odd" (func)) (func (export "_start")))
