// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Runs a libFuzzer target without libFuzzer: every file of a corpus as it is, then mutants
 * of them from a fixed seed, so that a run of the tests is the same everywhere. Build it with
 * -fsanitize=address,undefined. A crash leaves its input in ./fuzz-input.
 *
 *	fuzz_NAME CORPUS-DIRECTORY [ROUNDS [SEED]]
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_INPUTS 256
#define MAX_SIZE   65536

struct input {
	uint8_t *data;
	size_t size;
};

static struct input inputs[MAX_INPUTS];
static size_t n_inputs;
static uint64_t state;

/* xorshift64*: rand() differs between C libraries. */
static uint32_t draw(uint32_t bound)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)(((state * 0x2545f4914f6cdd1dull) >> 33) % bound);
}

static void load(const char *dir, const char *name)
{
	struct input *input = &inputs[n_inputs];
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "r");
	if (!file || n_inputs == MAX_INPUTS)
		exit(2);
	input->data = malloc(MAX_SIZE);
	input->size = input->data ? fread(input->data, 1, MAX_SIZE, file) : 0;
	fclose(file);
	n_inputs++;
}

static const uint8_t *current;
static size_t current_size;

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "abort_on_error=1";
}

/* Only what may be called from a signal handler. */
static void save_input(int signal_number)
{
	int fd = open("fuzz-input", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd >= 0 && write(fd, current, current_size) < 0)
		_exit(3);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static void run(const uint8_t *data, size_t size)
{
	/* A buffer of the exact size, so that reading past its end is seen. */
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		exit(2);
	current = data;
	current_size = size;
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

/* One to eight edits: flip, overwrite, insert from, delete, splice with another input. */
static size_t mutate(uint8_t *data, size_t size)
{
	static const char tokens[] = "{}[]\",:\\\n\0-09aexnu\xff\xc3&*!|>#%?'";

	for (uint32_t edits = 1 + draw(8); edits; edits--) {
		uint32_t at = draw((uint32_t)size + 1), len = 1 + draw(16);
		const struct input *other = &inputs[draw((uint32_t)n_inputs)];

		if (at >= size || size + len >= MAX_SIZE)
			continue;
		switch (draw(5)) {
		case 0:
			data[at] ^= (uint8_t)(1u << draw(8));
			break;
		case 1:
			data[at] = (uint8_t)tokens[draw(sizeof(tokens))];
			break;
		case 2:
			memmove(data + at + len, data + at, size - at);
			memset(data + at, tokens[draw(sizeof(tokens))], len);
			size += len;
			break;
		case 3:
			len = len < size - at ? len : (uint32_t)size - at;
			memmove(data + at, data + at + len, size - at - len);
			size -= len;
			break;
		default:
			if (other->size <= at)
				break;
			memcpy(data + at, other->data + at, other->size - at);
			size = other->size;
		}
	}
	return size;
}

int main(int argc, char **argv)
{
	long rounds = argc > 2 ? atol(argv[2]) : 100000;
	static uint8_t data[MAX_SIZE];
	struct dirent *entry;
	DIR *dir;

	state = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	dir = argc > 1 ? opendir(argv[1]) : NULL;
	if (!dir || !state)
		return 2;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			load(argv[1], entry->d_name);
	closedir(dir);
	if (!n_inputs)
		return 2;
	signal(SIGABRT, save_input);

	for (size_t i = 0; i < n_inputs; i++)
		run(inputs[i].data, inputs[i].size);
	for (long round = 0; round < rounds; round++) {
		const struct input *input = &inputs[draw((uint32_t)n_inputs)];

		memcpy(data, input->data, input->size);
		run(data, mutate(data, input->size));
	}
	printf("%zu inputs, %ld mutants\n", n_inputs, rounds);
	return 0;
}
