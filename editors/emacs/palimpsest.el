;;; palimpsest.el --- Palimpsest through Eglot  -*- lexical-binding: t; -*-

;; Package-Requires: ((emacs "30.1"))

;;; Commentary:

;; For Emacs 30 and its Eglot 1.17; no other package is needed.  Besides telling Eglot of the server:
;;
;; - A code action does not block Emacs, nor does it time out after ten seconds.
;; - \\[palimpsest-cancel] cancels the one that runs.
;; - An edit that the server sends is held against what was typed a moment ago, too.
;; - \\[palimpsest-why] says why the last request got no suggestion.
;;
;; Load it, and `M-x eglot' in a buffer with code.

;;; Code:

(require 'eglot)

(defgroup palimpsest nil
  "Code filled in by diffusion, on this machine."
  :group 'eglot)

(defcustom palimpsest-command '("palimpsest" "serve")
  "The program that is the server, and its arguments."
  :type '(repeat string))

(defcustom palimpsest-modes '(python-mode python-ts-mode)
  "Major modes that Eglot starts the server for; read when this file is loaded."
  :type '(repeat symbol))

(defcustom palimpsest-options '(:answerWithinMs 5000)
  "Settings, as a property list; taken up when the server is started.
Waiting for a suggestion ends as soon as a key is pressed, so there is no harm in a long wait."
  :type '(plist))

(defcustom palimpsest-timeout 600
  "Seconds after which the end of a code action is not waited for any longer."
  :type 'natnum)

(defclass palimpsest-server (eglot-lsp-server) ()
  :documentation "A connection to Palimpsest.")

(defvar palimpsest--token nil "The progress token of the last code action.")
(defvar palimpsest--count 0 "How many code actions were run.")

(cl-defmethod eglot-initialization-options ((_server palimpsest-server))
  "The settings, under their own name."
  `(:palimpsest ,(or palimpsest-options (make-hash-table))))

(cl-defmethod eglot-execute ((server palimpsest-server) action)
  "Run the command of ACTION without waiting for its end; SERVER sends an edit when it is there."
  (let* ((inner (plist-get action :command))
         (command (if (stringp inner) action inner)))
    (if (or (null command) (plist-get action :edit))
        (cl-call-next-method)
      (deactivate-mark)                 ; or `undo' would undo in the region, and so only a part
      (setq palimpsest--token (format "emacs-%d" (cl-incf palimpsest--count)))
      (jsonrpc-async-request
       server :workspace/executeCommand
       (list :command (plist-get command :command)
             :arguments (plist-get command :arguments)
             :workDoneToken palimpsest--token)
       :timeout palimpsest-timeout
       :success-fn #'ignore
       :error-fn (jsonrpc-lambda (&key message &allow-other-keys)
                   (message "[palimpsest] %s" message))))))

(cl-defmethod eglot-handle-request :before
  ((_server palimpsest-server) (_method (eql workspace/applyEdit)) &rest _params)
  "Let Eglot count what was typed just now, so that it refuses an edit of an older version."
  (when (fboundp 'eglot--signal-textDocument/didChange)
    (dolist (buffer (buffer-list))
      (with-current-buffer buffer
        (when (and (eglot-managed-p) (palimpsest-server-p (eglot-current-server)))
          (eglot--signal-textDocument/didChange))))))

(defun palimpsest--connection ()
  "The connection of this buffer."
  (let ((server (eglot-current-server)))
    (unless (palimpsest-server-p server)
      (user-error "Palimpsest is not at work in this buffer"))
    server))

(defun palimpsest-cancel ()
  "Cancel the code action that runs."
  (interactive)
  (jsonrpc-notify (palimpsest--connection) :window/workDoneProgress/cancel (list :token palimpsest--token)))

(defun palimpsest-pause ()
  "Pause everything, or go on."
  (interactive)
  (jsonrpc-async-request
   (palimpsest--connection) :workspace/executeCommand
   (list :command "palimpsest.pause" :arguments [(:scope "all")])
   :success-fn (jsonrpc-lambda (&key what &allow-other-keys) (message "[palimpsest] %s" what))))

(defun palimpsest-why ()
  "Say why the last request got no suggestion."
  (interactive)
  (let* ((status (jsonrpc-request (palimpsest--connection) :palimpsest/status (make-hash-table)))
         (empty (plist-get status :lastEmpty)))
    (message "[palimpsest] %s%s"
             (plist-get status :state)
             (if empty (concat ": " (plist-get empty :reason)) ", and the last request got something"))))

(add-to-list 'eglot-server-programs `(,palimpsest-modes . (palimpsest-server . ,palimpsest-command)))

(provide 'palimpsest)
;;; palimpsest.el ends here
