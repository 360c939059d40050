/* text_count.c - words and characters, by ICU's break iterators. */
#include <pthread.h>
#include <stdlib.h>

#include <unicode/ubrk.h>
#include <unicode/ustring.h>

#include "base/macros.h"
#include "base/xmem.h"
#include "gateway/features/message_text.h"

/* Opening an iterator costs a hundred times what counting a message does: a thread keeps its two.
 */
struct breakers {
    UBreakIterator *words, *chars;
    UChar text[MESSAGE_TEXT_MAX];
};
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void breakers_free(void *memory)
{
    struct breakers *b = memory;

    ubrk_close(b->words);
    ubrk_close(b->chars);
    free(b);
}

static void key_make(void)
{
    must(pthread_key_create(&key, breakers_free) == 0);
}

static struct breakers *breakers_of_thread(void)
{
    UErrorCode code = U_ZERO_ERROR;

    pthread_once(&once, key_make);
    struct breakers *b = pthread_getspecific(key);
    if (b)
        return b;
    b = xcalloc(1, sizeof(*b));
    b->words = ubrk_open(UBRK_WORD, "en_US", NULL, 0, &code);
    b->chars = ubrk_open(UBRK_CHARACTER, "en_US", NULL, 0, &code);
    must(U_SUCCESS(code)); /* else ICU's data is not installed */
    must(pthread_setspecific(key, b) == 0);
    return b;
}

/* Sets the iterator on the text; false: nothing to count. */
static bool break_text(struct breakers *b, UBreakIterator *it, struct span text)
{
    UErrorCode code = U_ZERO_ERROR;
    int32_t units = 0;
    size_t size = text.size < MESSAGE_TEXT_MAX ? text.size : MESSAGE_TEXT_MAX;

    if (!size)
        return false;
    /* UTF-8 never becomes more units than it has bytes */
    u_strFromUTF8WithSub(b->text, MESSAGE_TEXT_MAX, &units, text.at, (int32_t)size, 0xfffd, NULL,
                         &code);
    ubrk_setText(it, b->text, units, &code);
    return U_SUCCESS(code);
}

size_t text_count_words(struct span text)
{
    struct breakers *b = breakers_of_thread();
    size_t n = 0;

    if (!break_text(b, b->words, text))
        return 0;
    while (ubrk_next(b->words) != UBRK_DONE)
        n += ubrk_getRuleStatus(b->words) >= UBRK_WORD_NONE_LIMIT;
    return n;
}

/* In ASCII only CR LF is a character of two. Sets *ret when the text is ASCII. */
static bool count_ascii(struct span text, size_t *ret)
{
    size_t n = 0;

    for (size_t i = 0; i < text.size; i++) {
        if ((unsigned char)text.at[i] >= 0x80)
            return false;
        n += !(text.at[i] == '\n' && i && text.at[i - 1] == '\r');
    }
    *ret = n;
    return true;
}

size_t text_count_chars(struct span text)
{
    struct breakers *b = breakers_of_thread();
    size_t n = 0;

    if (count_ascii(text, &n) || !break_text(b, b->chars, text))
        return n;
    while (ubrk_next(b->chars) != UBRK_DONE)
        n++;
    return n;
}
