package tokenwire

// Return values of PKCS #11 (version 3.0, section 5.1 and pkcs11t.h) that decide what happens next. They are here
// since the parent has no cgo, and the headers are C.
const (
	DeviceError          = 0x30  // CKR_DEVICE_ERROR
	DeviceRemoved        = 0x32  // CKR_DEVICE_REMOVED
	KeyHandleInvalid     = 0x60  // CKR_KEY_HANDLE_INVALID
	ObjectHandleInvalid  = 0x82  // CKR_OBJECT_HANDLE_INVALID
	SessionClosed        = 0xB0  // CKR_SESSION_CLOSED
	SessionHandleInvalid = 0xB3  // CKR_SESSION_HANDLE_INVALID
	SlotIDInvalid        = 0x03  // CKR_SLOT_ID_INVALID
	TokenNotPresent      = 0xE0  // CKR_TOKEN_NOT_PRESENT
	TokenNotRecognized   = 0xE1  // CKR_TOKEN_NOT_RECOGNIZED
	UserAlreadyLoggedIn  = 0x100 // CKR_USER_ALREADY_LOGGED_IN
	UserNotLoggedIn      = 0x101 // CKR_USER_NOT_LOGGED_IN
	NotInitialized       = 0x190 // CKR_CRYPTOKI_NOT_INITIALIZED
)

// Flags of CK_TOKEN_INFO.
const (
	LoginRequired     = 1 << 2  // CKF_LOGIN_REQUIRED
	PINInitialized    = 1 << 3  // CKF_USER_PIN_INITIALIZED
	ProtectedPath     = 1 << 8  // CKF_PROTECTED_AUTHENTICATION_PATH
	UserPINCountLow   = 1 << 16 // CKF_USER_PIN_COUNT_LOW: a wrong PIN was entered since the last right one
	UserPINFinalTry   = 1 << 17 // CKF_USER_PIN_FINAL_TRY: one more wrong PIN locks the token
	UserPINLocked     = 1 << 18 // CKF_USER_PIN_LOCKED
	UserPINToBeChange = 1 << 19 // CKF_USER_PIN_TO_BE_CHANGED
)
