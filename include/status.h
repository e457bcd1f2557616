// Status: what a function of ours answers when the world may say no.
// The numbers behind a failure go into a problem (problem.h); a status only says which way to turn.
#pragma once

enum status {
    STATUS_OK = 0,
    STATUS_INVALID,     // the input contradicts itself or its specification
    STATUS_TRUNCATED,   // a length reaches beyond what is there; what could be read was kept
    STATUS_NOT_FOUND,   // what was looked for does not exist
    STATUS_NO_SPACE,    // the memory given is too small, or there is none to be had
    STATUS_TIMEOUT,     // a bounded wait ended without an answer
    STATUS_UNSUPPORTED, // the machine cannot do this
    STATUS_BUSY,        // what it is asked of has something else to do
    STATUS_WRONG_CPU,   // another processor may ask this, and not the one that did
};
