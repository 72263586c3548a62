/* SPDX-License-Identifier: MIT-0 */
/* hello.c - says hello on the serial port and tells what there is. */
#include "sample.h"

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes)
{
    const struct ring3_simple_device *serial = device(table, RING3_SIMPLE_SERIAL);

    for (const char *c = "Hello, world!\n"; *c; c++)
        outb(serial->port, (u8)*c);

    print("arguments: ");
    print(arguments);
    print("\nmemory: ");
    print_number(ram_bytes >> 20);
    print(" MiB\n");
    for (; table->id; table++) {
        print_number(table->port);
        print(" ");
        print(table->name);
        print("\n");
    }
    return 0;
}
