// The processor's page size, in bytes. (SDM vol. 3A, "Paging".)
#pragma once

#define PAGE_BYTES 4096u
