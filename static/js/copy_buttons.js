// Buttons that copy the text of their attribute data-copy.

import { copyText } from './clipboard.js'
import { toast } from './toast.js'

document.addEventListener('click', async ({ target }) => {
  const button = target.closest?.('[data-copy]')
  if (!button) return
  const copied = await copyText(button.dataset.copy)
  toast({ text: copied ? 'Copied' : 'This browser does not allow copying.' })
})
