// What the engine calls back: the APs' hello, the filter over messages, and what a fault leads to.
#pragma once

#include "drill.h"
#include "ending.h"
#include "hello.h"
#include "inject.h"
#include "problem.h"
#include "smp.h"

// APs read it whenever they come, so it never moves.
struct host {
    struct hellos hellos;
    struct injector injector;
    struct drill_ground ground; // of what run= calls them for
    struct console *console;
    struct ending *ending; // of the run, when the BSP meets a fault
};

struct smp_host host_callbacks(struct host *host, const struct problems *problems);
