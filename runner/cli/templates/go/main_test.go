package main

import (
	"strings"
	"testing"
)

func TestATextIsShouted(t *testing.T) {
	reply, err := run(strings.NewReader(`{"input": {"text": "to be"}, "config": {"suffix": "!"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Output{"TO BE!", 2}); reply.Output != want {
		t.Errorf("got %v, want %v", reply.Output, want)
	}
}

func TestATextWithoutWordsIsRefused(t *testing.T) {
	_, err := run(strings.NewReader(`{"input": {"text": " "}, "config": {}}`))
	if err == nil || err.Kind != "invalid-input" {
		t.Errorf("got %v", err)
	}
}
