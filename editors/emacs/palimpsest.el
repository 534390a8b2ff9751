;;; palimpsest.el --- Code filled in by diffusion, through Eglot  -*- lexical-binding: t; -*-

;; Author: the authors of Palimpsest
;; Version: 0.1.0
;; Package-Requires: ((emacs "30.1"))
;; Keywords: languages, tools, convenience
;; URL: https://github.com/OWNER/palimpsest
;; SPDX-License-Identifier: Apache-2.0

;;; Commentary:

;; For Emacs 30 and its Eglot 1.17; no other package is needed.  Besides telling Eglot of the server:
;;
;; - A code action does not block Emacs, nor does it time out after ten seconds.
;; - `palimpsest-cancel' cancels the one under way.
;; - An edit that the server sends is held against what was typed a moment ago, too.
;; - `palimpsest-preview-mode' shows suggestions behind the cursor, all of their lines; TAB takes them.
;; - `palimpsest-rewrite' rewrites the region as you say, `palimpsest-follow-up' changes the answer.
;; - `palimpsest-explain' explains the region, `palimpsest-test' writes a test for it.
;; - `palimpsest-next-edit' makes the edit that follows from the last changes.
;; - `palimpsest-why' says why the last request got no suggestion.
;;
;; Load it, and `M-x eglot' in a buffer with code.  For suggestions while you type:
;; (add-hook 'eglot-managed-mode-hook #'palimpsest-preview-mode)

;;; Code:

(require 'eglot)
(require 'completion-preview)

(defgroup palimpsest nil
  "Code filled in by diffusion, on this machine."
  :group 'eglot)

(defcustom palimpsest-command '("palimpsest" "serve")
  "The program that is the server, and its arguments."
  :type '(repeat string))

(defcustom palimpsest-modes '(python-mode python-ts-mode)
  "Major modes that Eglot starts the server for; read when this file is loaded."
  :type '(repeat symbol))

(defcustom palimpsest-options '(:answerWithinMs 9000)
  "Settings, as a property list; taken up when the server is started.
Waiting for a suggestion ends as soon as a key is pressed, so there is no
harm in a long wait; Eglot gives up after ten seconds."
  :type '(plist))

(defcustom palimpsest-timeout 600
  "Seconds after which the end of a code action is not waited for any longer."
  :type 'natnum)

(defcustom palimpsest-preview-delay 0.1
  "Seconds without a key before the preview is asked for."
  :type 'number)

(defclass palimpsest-server (eglot-lsp-server) ()
  :documentation "A connection to Palimpsest.")

(defvar palimpsest--token nil "The progress token of the last code action.")
(defvar palimpsest--count 0 "How many code actions were run.")

(cl-defmethod eglot-initialization-options ((_server palimpsest-server))
  "The settings, under their own name."
  `(:palimpsest ,(or palimpsest-options (make-hash-table)) :client (:explains t)))

(cl-defmethod eglot-execute ((server palimpsest-server) action)
  "Run the command of ACTION on SERVER, and do not wait for its end.
The server sends an edit when it is there."
  (let* ((inner (plist-get action :command))
         (command (if (stringp inner) action inner)))
    (if (or (null command) (plist-get action :edit))
        (cl-call-next-method)
      (palimpsest--execute server (plist-get command :command) (plist-get command :arguments) #'palimpsest--tell))))

(defun palimpsest--execute (server command arguments done)
  "Have SERVER run COMMAND with ARGUMENTS, and call DONE with the result."
  (deactivate-mark)                     ; or `undo' would undo in the region, and so only a part
  (setq palimpsest--token (format "emacs-%d" (cl-incf palimpsest--count)))
  (jsonrpc-async-request
   server :workspace/executeCommand
   (list :command command :arguments arguments :workDoneToken palimpsest--token)
   :timeout palimpsest-timeout
   :success-fn done
   :error-fn (jsonrpc-lambda (&key message &allow-other-keys)
               (message "[palimpsest] %s" message))))

(defun palimpsest--tell (result)
  "Show the explanation in the RESULT of a command, or say what was done."
  (let ((explanation (plist-get result :explanation))
        (conversation (plist-get result :conversation))
        (file (plist-get result :uri)))
    (cond (explanation
           (with-help-window "*Palimpsest explanation*"
             (with-current-buffer standard-output
               (insert (eglot--format-markup (list :kind "markdown" :value explanation))))))
          ((not (eq (plist-get result :applied) t))) ; the server says why
          (conversation
           (message "[palimpsest] version %d of %d"
                    (plist-get conversation :version) (plist-get conversation :versions)))
          (file (message "[palimpsest] a test is in %s" (eglot-uri-to-path file))))))

(cl-defmethod eglot-handle-request :before
  ((_server palimpsest-server) (_method (eql workspace/applyEdit)) &rest _params)
  "Let Eglot count what was typed just now; then it refuses an older edit."
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

;;; Suggestions behind the cursor

(defconst palimpsest--lists '(completion-at-point completion-help-at-point complete-symbol indent-for-tab-command)
  "Commands that ask for a list; they get that of Eglot, with an entry of one line.")

(defun palimpsest--text (entry beg)
  "All of the text that ENTRY of Eglot's list has for BEG to point."
  (when-let* ((edit (plist-get (get-text-property 0 'eglot--lsp-item entry) :textEdit))
              (start (car (eglot-range-region (plist-get edit :range))))
              (text (plist-get edit :newText)))
    (if (<= beg start)
        (concat (buffer-substring-no-properties beg start) text)
      (substring text (min (length text) (- beg start))))))

(defun palimpsest-completion-at-point ()
  "What `completion-preview-mode' asks: suggestions with all of their lines."
  (unless (memq this-command palimpsest--lists)
    (pcase (eglot-completion-at-point)
      (`(,beg ,_ ,table . ,_)
       (let ((texts :unknown))
         (list beg (point)
               (lambda (string predicate action)
                 (if (eq action 'metadata)
                     '(metadata (category . palimpsest)
                                (cycle-sort-function . identity)
                                (display-sort-function . identity))
                   (when (eq texts :unknown)
                     (setq texts (delq nil (mapcar (lambda (entry) (palimpsest--text entry beg))
                                                   (funcall table "" nil t)))))
                   (complete-with-action action texts string predicate)))))))))

(defconst palimpsest--typing
  '(newline c-electric-brace c-electric-colon c-electric-lt-gt c-electric-paren c-electric-pound
    c-electric-semi&comma c-electric-slash c-electric-star)
  "Commands that type, besides those that `completion-preview-commands' has.")

(defun palimpsest--while-shown (command)
  "COMMAND, as a key has it that means something else when there is no preview."
  `(menu-item "" ,command :filter ,(lambda (command) (and completion-preview-active-mode command))))

(defvar-keymap palimpsest-preview-mode-map
  :doc "Keys while a suggestion is shown; TAB is `completion-preview-mode's own."
  "C-g" (palimpsest--while-shown #'completion-preview-hide)
  "M-n" (palimpsest--while-shown #'completion-preview-next-candidate)
  "M-p" (palimpsest--while-shown #'completion-preview-prev-candidate))

(define-minor-mode palimpsest-preview-mode
  "Show suggestions behind the cursor while typing; TAB takes them.
It is on only where Palimpsest is at work."
  :lighter nil
  (if (setq palimpsest-preview-mode
            (and palimpsest-preview-mode (palimpsest-server-p (eglot-current-server))))
      (progn
        (setq-local completion-preview-minimum-symbol-length nil
                    completion-preview-idle-delay palimpsest-preview-delay
                    completion-preview-commands
                    (append palimpsest--typing (default-value 'completion-preview-commands)))
        (add-hook 'completion-at-point-functions #'palimpsest-completion-at-point -10 t)
        (completion-preview-mode))
    (remove-hook 'completion-at-point-functions #'palimpsest-completion-at-point t)
    (completion-preview-mode -1)))

;;; Instructions

(defvar palimpsest-instructions nil "What was said so far, the newest first.")

(defun palimpsest--between (beg end)
  "The text from BEG to END, as the protocol has it."
  (list :start (eglot--pos-to-lsp-position beg) :end (eglot--pos-to-lsp-position end)))

(defun palimpsest--range ()
  "The region, or else point, as the protocol has it."
  (if (use-region-p)
      (palimpsest--between (region-beginning) (region-end))
    (palimpsest--between (point) (point))))

(defun palimpsest--complaints ()
  "Diagnostics of Flymake for the lines of the region, or the one at point."
  (let ((beg (if (use-region-p) (region-beginning) (line-beginning-position)))
        (end (if (use-region-p) (region-end) (line-end-position))))
    (vconcat
     (mapcar (lambda (each)
               (list :range (palimpsest--between (flymake-diagnostic-beg each) (flymake-diagnostic-end each))
                     :message (flymake-diagnostic-text each)))
             (and (bound-and-true-p flymake-mode) (flymake-diagnostics beg end))))))

(defun palimpsest--run (action &rest more)
  "Run ACTION in this buffer; MORE are the other fields of its argument."
  (let ((server (palimpsest--connection)))
    (when (fboundp 'eglot--signal-textDocument/didChange)
      (eglot--signal-textDocument/didChange))
    (palimpsest--execute
     server "palimpsest.run"
     (vector (append (list :action action) (eglot--TextDocumentIdentifier) more))
     #'palimpsest--tell)))

(defun palimpsest--said (prompt)
  "Read an instruction with PROMPT."
  (let ((said (string-trim (read-string prompt nil 'palimpsest-instructions))))
    (if (string-empty-p said) (user-error "Nothing was said") said)))

(defun palimpsest-rewrite (instruction)
  "Rewrite the lines of the region, or the one at point, by INSTRUCTION."
  (interactive (list (progn (palimpsest--connection) (palimpsest--said "Rewrite: "))))
  (palimpsest--run "instruct" :instruction instruction :range (palimpsest--range)
                   :diagnostics (palimpsest--complaints)))

(defun palimpsest-follow-up (instruction)
  "Change what was rewritten last in this buffer, by INSTRUCTION."
  (interactive (list (progn (palimpsest--connection) (palimpsest--said "Follow-up: "))))
  (palimpsest--run "followUp" :instruction instruction))

(defun palimpsest-earlier ()
  "Put the version before the last answer in its place."
  (interactive)
  (palimpsest--run "earlier"))

(defun palimpsest-later ()
  "Put the version after the one that is there in its place."
  (interactive)
  (palimpsest--run "later"))

(defun palimpsest-explain (&optional question)
  "Explain the lines of the region, or the one at point.
With a prefix argument, ask a QUESTION about them."
  (interactive (list (and current-prefix-arg (palimpsest--said "Question: "))))
  (apply #'palimpsest--run "explain" :range (palimpsest--range) :diagnostics (palimpsest--complaints)
         (and question (list :instruction question))))

(defun palimpsest-test ()
  "Write a test for the region, in another file."
  (interactive)
  (palimpsest--run "test" :range (palimpsest--range)))

(defun palimpsest-canvas ()
  "Open the canvas of the region, or of point, in a browser."
  (interactive)
  (palimpsest--execute
   (palimpsest--connection) "palimpsest.canvas"
   (vector (append (eglot--TextDocumentIdentifier) (list :range (palimpsest--range))))
   (jsonrpc-lambda (&key url shown &allow-other-keys)
     (when (and url (not (eq shown t)))
       (browse-url url)))))

;;; Commands

(defun palimpsest-cancel ()
  "Cancel the code action under way."
  (interactive)
  (jsonrpc-notify (palimpsest--connection) :window/workDoneProgress/cancel (list :token palimpsest--token)))

(defun palimpsest-pause ()
  "Pause everything, or go on."
  (interactive)
  (jsonrpc-async-request
   (palimpsest--connection) :workspace/executeCommand
   (list :command "palimpsest.pause" :arguments [(:scope "all")])
   :success-fn (jsonrpc-lambda (&key what &allow-other-keys) (message "[palimpsest] %s" what))))

(defun palimpsest-next-edit (&optional jump)
  "Make the edit that follows from what changed last, and go there.
With a prefix argument JUMP, only go there.  The reason is shown in both cases."
  (interactive "P")
  (let ((server (palimpsest--connection)))
    (when (fboundp 'eglot--signal-textDocument/didChange)
      (eglot--signal-textDocument/didChange))
    (jsonrpc-async-request
     server :workspace/executeCommand
     (list :command "palimpsest.nextEdit"
           :arguments (vector (append (eglot--TextDocumentPositionParams)
                                      (list :jump (if jump t :json-false)))))
     :success-fn (jsonrpc-lambda (&key reason why &allow-other-keys)
                   (message "[palimpsest] %s" (if reason (concat "no next edit: " reason) why)))
     :error-fn (jsonrpc-lambda (&key message &allow-other-keys)
                 (message "[palimpsest] %s" message)))))

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
