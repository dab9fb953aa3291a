// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "compile/ids.h"

static struct shunt_ids *ids;

static void setup(void)
{
	const uint32_t limit[SHUNT_N_ID_KINDS] = { 4, 100, 1000, 100, 100 };

	ids = shunt_ids_new(limit);
	cr_assert_not_null(ids);
}

static void teardown(void)
{
	shunt_ids_free(ids);
}

Test(ids, an_id_stays_with_its_key, .init = setup, .fini = teardown)
{
	uint32_t a = shunt_ids_get(ids, SHUNT_ID_VARIANT, "a");
	uint32_t b = shunt_ids_get(ids, SHUNT_ID_VARIANT, "b");

	cr_assert_neq(a, 0);
	cr_assert_neq(a, b);
	cr_assert_eq(shunt_ids_get(ids, SHUNT_ID_VARIANT, "a"), a);
	cr_assert_eq(shunt_ids_find(ids, SHUNT_ID_VARIANT, "b"), b);
	cr_assert_eq(shunt_ids_find(ids, SHUNT_ID_VARIANT, "c"), 0);
	cr_assert_eq(shunt_ids_find(ids, SHUNT_ID_BACKEND, "a"), 0, "kinds are apart");
	cr_assert_eq(shunt_ids_used(ids, SHUNT_ID_VARIANT), 2);
}

Test(ids, a_full_space_gives_zero_until_one_is_reclaimed, .init = setup, .fini = teardown)
{
	cr_assert_eq(shunt_ids_get(ids, SHUNT_ID_SERVICE, "a"), 1);
	cr_assert_eq(shunt_ids_get(ids, SHUNT_ID_SERVICE, "b"), 2);
	cr_assert_eq(shunt_ids_get(ids, SHUNT_ID_SERVICE, "c"), 3);
	cr_assert(!shunt_ids_ran_out(ids, SHUNT_ID_SERVICE));
	cr_assert_eq(shunt_ids_get(ids, SHUNT_ID_SERVICE, "d"), 0);
	cr_assert(shunt_ids_ran_out(ids, SHUNT_ID_SERVICE));
	cr_assert_eq(shunt_ids_get(ids, SHUNT_ID_SERVICE, "b"), 2);
	shunt_ids_reclaim(ids, SHUNT_ID_SERVICE, 2);
	cr_assert(!shunt_ids_bound(ids, SHUNT_ID_SERVICE, 2));
	cr_assert_eq(shunt_ids_get(ids, SHUNT_ID_SERVICE, "d"), 2);
	cr_assert_eq(shunt_ids_find(ids, SHUNT_ID_SERVICE, "b"), 0);
}

Test(ids, adopted_ids_are_not_given_to_others, .init = setup, .fini = teardown)
{
	cr_assert_eq(shunt_ids_adopt(ids, SHUNT_ID_SERVICE, "x", 1), 0);
	cr_assert_eq(shunt_ids_adopt(ids, SHUNT_ID_SERVICE, "y", 1), -EEXIST);
	cr_assert_eq(shunt_ids_adopt(ids, SHUNT_ID_SERVICE, "x", 2), -EEXIST);
	cr_assert_eq(shunt_ids_adopt(ids, SHUNT_ID_SERVICE, "y", 0), -ERANGE);
	cr_assert_eq(shunt_ids_adopt(ids, SHUNT_ID_SERVICE, "y", 4), -ERANGE);
	cr_assert_eq(shunt_ids_get(ids, SHUNT_ID_SERVICE, "y"), 2);
	cr_assert_eq(shunt_ids_get(ids, SHUNT_ID_SERVICE, "x"), 1);
}

Test(ids, a_thousand_come_and_go, .init = setup, .fini = teardown)
{
	char key[32];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 999; i++) {
			snprintf(key, sizeof(key), "%d-%d", round, i);
			cr_assert_neq(shunt_ids_get(ids, SHUNT_ID_BACKEND, key), 0);
		}
		cr_assert_eq(shunt_ids_used(ids, SHUNT_ID_BACKEND), 999);
		for (uint32_t id = 1; id < 1000; id++)
			shunt_ids_reclaim(ids, SHUNT_ID_BACKEND, id);
		cr_assert_eq(shunt_ids_used(ids, SHUNT_ID_BACKEND), 0);
	}
}

Test(ids, keys_tell_their_parts_apart)
{
	char a[SHUNT_ID_KEY_LEN], b[SHUNT_ID_KEY_LEN];
	struct shunt_ip ip;

	cr_assert_str_neq(shunt_id_service_key(a, "ns", "a", 80, 6),
			  shunt_id_service_key(b, "ns", "a", 80, 17));
	cr_assert_str_neq(shunt_id_variant_key(a, "n", "s", 80, 6, "v"),
			  shunt_id_variant_key(b, "n", "sv", 80, 6, ""));
	cr_assert_str_neq(shunt_id_variant_key(a, "n", "s", 53, 6, "v"),
			  shunt_id_variant_key(b, "n", "s", 53, 17, "v"));
	shunt_ip_parse("10.0.0.1", &ip);
	cr_assert_str_neq(shunt_id_backend_key(a, 1, &ip, 80, 6),
			  shunt_id_backend_key(b, 18, &ip, 80, 6));
	shunt_id_backend_key(a, 1, &ip, 80, 6);
	shunt_ip_parse("::a00:1", &ip);
	cr_assert_str_neq(a, shunt_id_backend_key(b, 1, &ip, 80, 6));
}
