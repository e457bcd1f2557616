// How much is said (option log=).
#pragma once

enum log_level {
    LOG_NORMAL,
    LOG_QUIET, // records only
    LOG_DEBUG, // and records that are for whoever looks for a fault
};
