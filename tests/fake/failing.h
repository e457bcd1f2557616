// Whatever the fake machine does not allow is one failed test. Header only; include cmocka.h
// before.
#pragma once

#include "fake_log.h"

static inline void fail_this_test(const char *message)
{
    fail_msg("%s", message);
}

static inline void failures_fail_the_test(void)
{
    fake_on_failure(fail_this_test);
}
