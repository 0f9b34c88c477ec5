import { useEffect, useRef, useState } from 'preact/hooks'
import { Dialog } from './dialog'

/** Whether this browser gives pages a camera here; over plain http it does for this machine's own address alone. */
export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia)

/** Takes one photo. Nothing is kept, and the camera is off when this closes. */
export function Camera({ taken, close }: { taken: (photo: File) => void; close: () => void }) {
  const video = useRef<HTMLVideoElement>(null)
  const [problem, setProblem] = useState('')
  const [ready, setReady] = useState(false)

  useEffect(() => {
    let stream: MediaStream | undefined
    let gone = false
    navigator.mediaDevices
      .getUserMedia({ video: { facingMode: 'environment', width: { ideal: 1920 } }, audio: false })
      .then((opened) => {
        stream = opened
        if (gone) off(opened)
        else if (video.current) video.current.srcObject = opened
      })
      .catch((thrown: unknown) => setProblem(why(thrown)))
    return () => {
      gone = true
      if (stream) off(stream)
    }
  }, [])

  function take() {
    const { videoWidth, videoHeight } = video.current!
    const canvas = new OffscreenCanvas(videoWidth, videoHeight)
    canvas.getContext('2d')!.drawImage(video.current!, 0, 0)
    void canvas.convertToBlob({ type: 'image/jpeg', quality: 0.92 }).then((blob) => {
      taken(new File([blob], 'photo.jpg', { type: 'image/jpeg' }))
      close()
    })
  }

  return (
    <Dialog title="Take a photo" close={close}>
      {problem ? (
        <p>{problem}</p>
      ) : (
        <>
          <video ref={video} class="camera" autoPlay muted playsInline onLoadedData={() => setReady(true)} />
          <button type="button" class="primary" disabled={!ready} onClick={take}>
            Take the photo
          </button>
        </>
      )}
    </Dialog>
  )
}

function off(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop()
}

function why(thrown: unknown): string {
  const name = thrown instanceof DOMException ? thrown.name : ''
  if (name === 'NotAllowedError') return 'The browser was not allowed to use the camera.'
  if (name === 'NotFoundError') return 'No camera was found.'
  return 'The camera could not be opened.'
}
