// The bell: how an AP that waits for its turn sleeps, and how it is woken. Surprise: nothing is
// lost between its look at the turn and its sleep. Interrupts are on only while it sleeps, so a
// call that came before waits in its local APIC and ends the sleep at once.
#pragma once

#include "apic.h"

// The AP, once after each INIT: its local APIC takes calls from now on.
void bell_listen(void);

// The AP: sleeps until a call. May also return without one.
void bell_sleep(void);

// Calls one AP. Harmless to one that does not listen, is awake, or is dead. A failure is that of
// the message.
enum status bell_ring(struct apic *apic, uint32_t apic_id);
