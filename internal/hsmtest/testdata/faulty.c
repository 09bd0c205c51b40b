// A PKCS #11 module that is another one (HSMTEST_MODULE) with faults. The file HSMTEST_FAULTS has the words of those
// that are on; it is read at each call.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "pkcs11go.h"

static CK_FUNCTION_LIST faulty;
static CK_FUNCTION_LIST_PTR real;

static int on(const char *fault)
{
	char text[256] = " ";
	FILE *f = fopen(getenv("HSMTEST_FAULTS"), "r");
	if (f == NULL)
		return 0;
	size_t n = fread(text + 1, 1, sizeof text - 3, f);
	fclose(f);
	text[n + 1] = ' ';
	text[n + 2] = 0;
	char word[64];
	snprintf(word, sizeof word, " %s ", fault);
	return strstr(text, word) != NULL;
}

static void hang(void)
{
	for (;;)
		pause();
}

static CK_RV initialize(CK_VOID_PTR args)
{
	if (on("open-hangs"))
		hang();
	if (on("open-crashes"))
		raise(SIGSEGV);
	return real->C_Initialize(args);
}

static CK_RV tokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
	CK_RV rv = real->C_GetTokenInfo(slot, info);
	if (on("count-low"))
		info->flags |= CKF_USER_PIN_COUNT_LOW;
	if (on("final-try"))
		info->flags |= CKF_USER_PIN_FINAL_TRY;
	if (on("locked"))
		info->flags |= CKF_USER_PIN_LOCKED;
	if (on("change-pin"))
		info->flags |= CKF_USER_PIN_TO_BE_CHANGED;
	return rv;
}

static CK_RV login(CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG n)
{
	FILE *f = fopen(getenv("HSMTEST_LOGINS"), "a");
	fputc('x', f);
	fclose(f);
	if (on("login-prints"))
		fprintf(stderr, "login with %.*s\n", (int)n, pin);
	if (on("login-crashes"))
		raise(SIGSEGV);
	if (on("login-hangs"))
		hang();
	if (on("login-locked"))
		return CKR_PIN_LOCKED;
	if (on("login-fails"))
		return CKR_FUNCTION_FAILED;
	if (on("login-absent"))
		return CKR_TOKEN_NOT_PRESENT;
	return real->C_Login(s, user, pin, n);
}

static CK_RV signInit(CK_SESSION_HANDLE s, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE k)
{
	if (on("session-lost"))
		return CKR_SESSION_HANDLE_INVALID;
	if (on("session-lost-once")) {
		remove(getenv("HSMTEST_FAULTS"));
		return CKR_SESSION_HANDLE_INVALID;
	}
	if (on("logged-out-once")) {
		remove(getenv("HSMTEST_FAULTS"));
		return CKR_USER_NOT_LOGGED_IN;
	}
	if (on("sign-refused"))
		return CKR_KEY_FUNCTION_NOT_PERMITTED;
	return real->C_SignInit(s, m, k);
}

// C_Sign is called twice: first for the length, without sig.
static CK_RV sign(CK_SESSION_HANDLE s, CK_BYTE_PTR data, CK_ULONG n, CK_BYTE_PTR sig, CK_ULONG_PTR length)
{
	if (sig != NULL) {
		if (on("sign-hangs"))
			hang();
		if (on("sign-slow"))
			usleep(400 * 1000);
		if (on("sign-crashes"))
			raise(SIGSEGV);
		if (on("sign-prints")) {
			puts("{\"id\":1,\"signature\":\"AAAA\"}");
			fflush(stdout);
		}
	}
	CK_RV rv = real->C_Sign(s, data, n, sig, length);
	if (sig != NULL && rv == CKR_OK && on("sign-wrong"))
		sig[*length - 1] ^= 1;
	if (sig != NULL && rv == CKR_OK && on("sign-zero"))
		memset(sig, 0, *length);
	if (sig != NULL && rv == CKR_OK && on("sign-short"))
		*length /= 2;
	return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
	void *module = dlopen(getenv("HSMTEST_MODULE"), RTLD_NOW | RTLD_LOCAL);
	if (module == NULL)
		return CKR_GENERAL_ERROR;
	CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList");
	CK_RV rv = get(&real);
	if (rv != CKR_OK)
		return rv;
	faulty = *real;
	faulty.C_GetFunctionList = C_GetFunctionList;
	faulty.C_Initialize = initialize;
	faulty.C_GetTokenInfo = tokenInfo;
	faulty.C_Login = login;
	faulty.C_SignInit = signInit;
	faulty.C_Sign = sign;
	*list = &faulty;
	return CKR_OK;
}
