// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The translator's address tables: what survives which flush, a table per PCID and
 * the least recently used one going first, code pages losing write permission.
 */
#include <stdio.h>
#include "unit.h"

#include "engine/dbt/tables.h"

#define PAGE(n) gva((uint64_t)(n) << PAGE_SHIFT)
#define KERNEL_PAGE(n) gva(0xffff800000000000 | (uint64_t)(n) << PAGE_SHIFT)

/* Any multiple of a page but 0. */
enum { ADDEND = 0x5000 };

static struct dbt_tables *t;

static int setup(void **state)
{
    t = dbt_tables_new(2, NULL);
    return t ? 0 : -1;
}

static int teardown(void **state)
{
    dbt_tables_free(t);
    return 0;
}

static void fill(enum dbt_ring ring, gva_t page, unsigned more)
{
    dbt_tables_fill(t, ring, page, ADDEND, DBT_FILL_READ | more);
}

static bool there(enum dbt_ring ring, gva_t page)
{
    return dbt_tables_at(t, ring, page, false) == ADDEND;
}

static void reads_and_writes_apart(void **state)
{
    fill(DBT_RING_USER, PAGE(1), 0);
    assert_true(there(DBT_RING_USER, PAGE(1)));
    assert_int_equal(dbt_tables_at(t, DBT_RING_USER, PAGE(1), true), 0);
    assert_false(there(DBT_RING_KERNEL, PAGE(1)));
    fill(DBT_RING_USER, PAGE(1), DBT_FILL_WRITE);
    assert_int_equal(dbt_tables_at(t, DBT_RING_USER, PAGE(1), true), ADDEND);
}

static void global_entries_outlive_a_process(void **state)
{
    fill(DBT_RING_KERNEL, PAGE(1), 0);
    fill(DBT_RING_KERNEL, KERNEL_PAGE(2), DBT_FILL_GLOBAL);
    fill(DBT_RING_KERNEL, KERNEL_PAGE(512), DBT_FILL_GLOBAL | DBT_FILL_LARGE);
    dbt_tables_flush_local(t);
    assert_false(there(DBT_RING_KERNEL, PAGE(1)));
    assert_true(there(DBT_RING_KERNEL, KERNEL_PAGE(2)));
    assert_true(there(DBT_RING_KERNEL, KERNEL_PAGE(512)));
    dbt_tables_flush(t);
    assert_false(there(DBT_RING_KERNEL, KERNEL_PAGE(2)));
    assert_false(there(DBT_RING_KERNEL, KERNEL_PAGE(512)));
}

static void a_space_per_pcid(void **state)
{
    fill(DBT_RING_USER, PAGE(1), 0);                    /* PCID 0 */
    assert_false(dbt_tables_switch(t, 7));
    assert_false(there(DBT_RING_USER, PAGE(1)));
    fill(DBT_RING_USER, PAGE(2), 0);
    assert_true(dbt_tables_switch(t, 0));
    assert_true(there(DBT_RING_USER, PAGE(1)));
    assert_false(there(DBT_RING_USER, PAGE(2)));

    /* There is room for two: 7 was not used for longest. */
    assert_false(dbt_tables_switch(t, 8));
    assert_null(dbt_tables_user(t, 7));
    assert_false(there(DBT_RING_USER, PAGE(2)));
    assert_true(dbt_tables_switch(t, 0));
    assert_true(there(DBT_RING_USER, PAGE(1)));
}

static void one_address_goes_with_its_large_page(void **state)
{
    fill(DBT_RING_USER, PAGE(1), 0);
    fill(DBT_RING_USER, PAGE(2), 0);
    fill(DBT_RING_USER, PAGE(512), DBT_FILL_LARGE);
    fill(DBT_RING_USER, PAGE(513), DBT_FILL_LARGE);
    fill(DBT_RING_USER, PAGE(1 << 18), DBT_FILL_LARGE);     /* in another gigabyte */
    dbt_tables_flush_page(t->now[DBT_RING_USER], PAGE(513));
    assert_false(there(DBT_RING_USER, PAGE(512)));
    assert_false(there(DBT_RING_USER, PAGE(513)));
    assert_true(there(DBT_RING_USER, PAGE(1 << 18)));
    assert_true(there(DBT_RING_USER, PAGE(1)));
    dbt_tables_flush_page(t->now[DBT_RING_USER], PAGE(1));
    assert_false(there(DBT_RING_USER, PAGE(1)));
    assert_true(there(DBT_RING_USER, PAGE(2)));
}

static void large_pages_in_more_gigabytes_than_journals(void **state)
{
    enum { MANY = 3 * DBT_LARGES_MAX };

    for (unsigned i = 0; i < MANY; i++)
        fill(DBT_RING_USER, PAGE((uint64_t)i << 18), DBT_FILL_LARGE);
    for (unsigned i = 0; i < MANY; i++) {
        dbt_tables_flush_page(t->now[DBT_RING_USER], PAGE((uint64_t)i << 18));
        assert_false(there(DBT_RING_USER, PAGE((uint64_t)i << 18)));
    }
}

static void count(void *opaque, uintptr_t host_page)
{
    assert_int_equal(host_page, (3ull << PAGE_SHIFT) + ADDEND);
    ++*(unsigned *)opaque;
}

static void code_pages_lose_write_permission(void **state)
{
    unsigned writable = 0;

    fill(DBT_RING_USER, PAGE(3), DBT_FILL_WRITE);
    fill(DBT_RING_KERNEL, PAGE(3), DBT_FILL_WRITE | DBT_FILL_LARGE);
    fill(DBT_RING_KERNEL, PAGE(4), 0);
    dbt_tables_switch(t, 1);
    dbt_tables_visit_writable(t, count, &writable);
    assert_int_equal(writable, 2);
    dbt_tables_protect(t, (3ull << PAGE_SHIFT) + ADDEND);
    writable = 0;
    dbt_tables_visit_writable(t, count, &writable);
    assert_int_equal(writable, 0);
    dbt_tables_switch(t, 0);
    assert_true(there(DBT_RING_USER, PAGE(3)));         /* may still be read */
}

/* A page of the table for every entry: some have to go sooner or later. */
static void memory_is_bounded(void **state)
{
    enum { MANY = 40000 };
    unsigned left = 0;

    for (unsigned i = 0; i < MANY; i++)
        fill(DBT_RING_USER, PAGE((uint64_t)i << 9), 0);
    for (unsigned i = 0; i < MANY; i++)
        left += there(DBT_RING_USER, PAGE((uint64_t)i << 9));
    assert_in_range(left, 1, MANY - 1);
    assert_true(there(DBT_RING_USER, PAGE((uint64_t)(MANY - 1) << 9)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_and_writes_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(global_entries_outlive_a_process, setup, teardown),
        cmocka_unit_test_setup_teardown(a_space_per_pcid, setup, teardown),
        cmocka_unit_test_setup_teardown(one_address_goes_with_its_large_page, setup, teardown),
        cmocka_unit_test_setup_teardown(large_pages_in_more_gigabytes_than_journals, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(code_pages_lose_write_permission, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_bounded, setup, teardown),
    };

#ifdef __SANITIZE_THREAD__
    printf("SKIP: the thread sanitizer leaves no room for tables of 2 TiB\n");
    return 77;
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
